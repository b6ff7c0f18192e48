// Package figure turns samples into the few numbers that are quoted, and numbers into
// Markdown tables.
//
// It is pure: durations and texts come in, summaries and text go out.
package figure

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Summary is what is quoted of a set of samples.
type Summary struct {
	N                       int
	Min, P50, P90, P99, Max time.Duration
}

// Of summarises samples; none give the zero Summary. samples is not changed.
func Of(samples []time.Duration) Summary {
	if len(samples) == 0 {
		return Summary{}
	}
	sorted := slices.Sorted(slices.Values(samples))
	return Summary{
		N: len(sorted), Min: sorted[0], Max: sorted[len(sorted)-1],
		P50: percentile(sorted, 50), P90: percentile(sorted, 90), P99: percentile(sorted, 99),
	}
}

// percentile is the smallest sample that p percent of all do not exceed (nearest rank), so
// always one that was really seen. The 99th of fewer than 100 samples is therefore their
// largest.
func percentile(sorted []time.Duration, p int) time.Duration {
	rank := (len(sorted)*p + 99) / 100
	return sorted[max(rank, 1)-1]
}

// Millis writes a duration as milliseconds with three significant digits or whole ones.
func Millis(d time.Duration) string {
	ms := float64(d) / float64(time.Millisecond)
	switch {
	case ms >= 100 || ms == 0:
		return fmt.Sprintf("%.0f", ms)
	case ms >= 10:
		return fmt.Sprintf("%.1f", ms)
	default:
		return fmt.Sprintf("%.2f", ms)
	}
}

// MiB writes bytes as mebibytes with one decimal.
func MiB(bytes int64) string { return fmt.Sprintf("%.1f", float64(bytes)/(1<<20)) }

// Columns are the headings that go with Cells.
func Columns(first string) []string {
	return []string{first, "n", "min", "p50", "p90", "p99", "max"}
}

// Cells is a row of milliseconds below Columns.
func (s Summary) Cells(first string) []string {
	return []string{first, fmt.Sprint(s.N), Millis(s.Min), Millis(s.P50), Millis(s.P90), Millis(s.P99), Millis(s.Max)}
}

// Table is a Markdown table.
type Table struct {
	Title string
	Head  []string
	Rows  [][]string // as long as Head
	Notes []string   // below the table: what the figures do and do not say
}

// String is the table in Markdown with a heading of the third level; columns but the first
// are aligned to the right.
func (t Table) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "### %s\n\n", t.Title)
	line(&b, t.Head)
	rule := make([]string, len(t.Head))
	for i := range rule {
		rule[i] = "---:"
	}
	rule[0] = "---"
	line(&b, rule)
	for _, row := range t.Rows {
		line(&b, row)
	}
	b.WriteString("\n")
	for _, note := range t.Notes {
		fmt.Fprintf(&b, "- %s\n", note)
	}
	if len(t.Notes) > 0 {
		b.WriteString("\n")
	}
	return b.String()
}

func line(b *strings.Builder, cells []string) {
	b.WriteString("|")
	for _, c := range cells {
		b.WriteString(" " + strings.ReplaceAll(c, "|", `\|`) + " |")
	}
	b.WriteString("\n")
}

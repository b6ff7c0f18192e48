package figure

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func millis(values ...int) []time.Duration {
	var out []time.Duration
	for _, v := range values {
		out = append(out, time.Duration(v)*time.Millisecond)
	}
	return out
}

func TestOf(t *testing.T) {
	hundred := make([]int, 100)
	for i := range hundred {
		hundred[i] = 100 - i
	}
	const ms = time.Millisecond
	for _, tt := range []struct {
		name string
		in   []time.Duration
		want Summary
	}{
		{"none", nil, Summary{}},
		{"one", millis(7), Summary{1, 7 * ms, 7 * ms, 7 * ms, 7 * ms, 7 * ms}},
		{"two: the median is the lower", millis(9, 3), Summary{2, 3 * ms, 3 * ms, 9 * ms, 9 * ms, 9 * ms}},
		{"ten, in disorder", millis(10, 1, 9, 2, 8, 3, 7, 4, 6, 5), Summary{10, 1 * ms, 5 * ms, 9 * ms, 10 * ms, 10 * ms}},
		{"hundred: the last is not the 99th", millis(hundred...), Summary{100, 1 * ms, 50 * ms, 90 * ms, 99 * ms, 100 * ms}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, Of(tt.in)); diff != "" {
				t.Errorf("Of (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOfLeavesTheSamplesInOrder(t *testing.T) {
	in := millis(3, 1, 2)
	Of(in)
	if diff := cmp.Diff(millis(3, 1, 2), in); diff != "" {
		t.Error(diff)
	}
}

func TestMillis(t *testing.T) {
	for in, want := range map[time.Duration]string{
		0:                        "0",
		1234 * time.Microsecond:  "1.23",
		12345 * time.Microsecond: "12.3",
		1534 * time.Millisecond:  "1534",
		80 * time.Microsecond:    "0.08",
	} {
		if got := Millis(in); got != want {
			t.Errorf("Millis(%s) = %q, want %q", in, got, want)
		}
	}
}

func TestTable(t *testing.T) {
	got := Table{
		Title: "Pods",
		Head:  Columns("outbound|80||web"),
		Rows:  [][]string{Of(millis(1, 2, 300)).Cells("ready")},
		Notes: []string{"one note"},
	}.String()
	want := `### Pods

| outbound\|80\|\|web | n | min | p50 | p90 | p99 | max |
| --- | ---: | ---: | ---: | ---: | ---: | ---: |
| ready | 3 | 1.00 | 2.00 | 300 | 300 | 300 |

- one note

`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}

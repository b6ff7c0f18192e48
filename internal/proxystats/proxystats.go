// Package proxystats reads the annotations about Envoy's own statistics.
//
// The injector warns of what cannot be read, the agent leaves it out: both ask this
// package, so that they agree. As in Istio, none of these settings keeps a pod from
// starting. The package is pure: annotations in, settings and mistakes out.
package proxystats

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sluicemesh/sluice/internal/meta"
)

// DefaultFlush is how often Envoy flushes statistics where nobody says.
const DefaultFlush = 5 * time.Second

// Settings is what the annotations say; the zero value where they say nothing.
type Settings struct {
	Flush       time.Duration // 1 ms to less than 5 min, as Envoy wants it; 0: the default
	Eviction    time.Duration // a multiple of the flush interval; 0: never
	Buckets     []Buckets     // sorted by prefix
	Compression *bool
	Tags        []string // nil: none are named
}

// Buckets are the bounds of the histograms whose names begin with Prefix.
type Buckets struct {
	Prefix string
	Bounds []float64 // at least one, each above 0, no two alike
}

// Mistake is a value that is left out.
type Mistake struct{ Annotation, Message string }

// Read reads the annotations of a pod.
func Read(annotations map[string]string) (Settings, []Mistake) {
	r := reader{annotations: annotations}
	s := Settings{Flush: r.duration(meta.StatsFlushInterval), Eviction: r.duration(meta.StatsEviction)}
	flush := s.Flush
	if flush >= 5*time.Minute {
		r.mistake(meta.StatsFlushInterval, "%s is too long, write less than 5m", flush)
		s.Flush, flush = 0, 0
	}
	if flush == 0 {
		flush = DefaultFlush
	}
	if s.Eviction%flush != 0 {
		r.mistake(meta.StatsEviction, "%s is no multiple of the flush interval %s", s.Eviction, flush)
		s.Eviction = 0
	}
	s.Buckets = r.buckets()
	s.Compression = r.compression()
	s.Tags = r.tags()
	return s, r.mistakes
}

type reader struct {
	annotations map[string]string
	mistakes    []Mistake
}

func (r *reader) mistake(annotation, format string, args ...any) {
	r.mistakes = append(r.mistakes, Mistake{annotation, fmt.Sprintf(format, args...)})
}

func (r *reader) duration(key string) time.Duration {
	text := r.annotations[key]
	if text == "" {
		return 0
	}
	d, err := time.ParseDuration(strings.TrimSpace(text))
	if err != nil || d < time.Millisecond {
		r.mistake(key, "%q is not a duration of at least 1ms, write a number with a unit such as 10s", text)
		return 0
	}
	return d
}

func (r *reader) buckets() []Buckets {
	text := r.annotations[meta.StatsBuckets]
	if text == "" {
		return nil
	}
	var in map[string][]float64
	if err := json.Unmarshal([]byte(text), &in); err != nil {
		r.mistake(meta.StatsBuckets, `is not JSON such as {"istiocustom": [1, 5, 10]}: %v`, err)
		return nil
	}
	var out []Buckets
	for _, prefix := range slices.Sorted(maps.Keys(in)) {
		bounds := in[prefix]
		sorted := slices.Sorted(slices.Values(bounds))
		if len(bounds) == 0 || sorted[0] <= 0 || len(slices.Compact(sorted)) < len(bounds) {
			r.mistake(meta.StatsBuckets, "bounds of %q: write at least one number, each above 0 and only once", prefix)
			continue
		}
		out = append(out, Buckets{prefix, bounds})
	}
	return out
}

func (r *reader) compression() *bool {
	text := strings.TrimSpace(r.annotations[meta.StatsCompression])
	if text == "" {
		return nil
	}
	on, err := strconv.ParseBool(text)
	if err != nil {
		r.mistake(meta.StatsCompression, "%q has no effect, write true or false: which compression is used the scraper says", text)
		return nil
	}
	return &on
}

func (r *reader) tags() []string {
	text, ok := r.annotations[meta.StatsTags]
	if !ok {
		return nil
	}
	out := []string{}
	for word := range strings.SplitSeq(text, ",") {
		word = strings.TrimSpace(word)
		switch {
		case word == "":
		case strings.ContainsFunc(word, notInTag):
			r.mistake(meta.StatsTags, `%q is not a tag, write letters, digits, "_", "." and "-"`, word)
		default:
			out = append(out, word)
		}
	}
	return out
}

func notInTag(c rune) bool {
	return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("_.-", c)
}

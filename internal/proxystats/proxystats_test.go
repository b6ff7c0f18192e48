package proxystats_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicemesh/sluice/internal/proxystats"
)

func TestRead(t *testing.T) {
	on, off := true, false
	for _, c := range []struct {
		name     string
		in       map[string]string // below sidecar.istio.io/
		want     proxystats.Settings
		mistakes []string
	}{
		{name: "none"},
		{name: "empty", in: map[string]string{"statsFlushInterval": "", "statsHistogramBuckets": "", "statsCompression": ""}},
		{
			name: "all",
			in: map[string]string{
				"statsFlushInterval": "10s", "statsEvictionInterval": "30s", "statsHistogramBuckets": `{"b":[5,1],"a":[0.5]}`,
				"statsCompression": "true", "extraStatTags": "one, two_3",
			},
			want: proxystats.Settings{
				Flush: 10 * time.Second, Eviction: 30 * time.Second, Compression: &on, Tags: []string{"one", "two_3"},
				Buckets: []proxystats.Buckets{{Prefix: "a", Bounds: []float64{0.5}}, {Prefix: "b", Bounds: []float64{5, 1}}},
			},
		},
		{name: "off", in: map[string]string{"statsCompression": " false"}, want: proxystats.Settings{Compression: &off}},
		{name: "eviction by the default", in: map[string]string{"statsEvictionInterval": "10s"}, want: proxystats.Settings{Eviction: 10 * time.Second}},
		{
			name: "eviction", in: map[string]string{"statsEvictionInterval": "12s"},
			mistakes: []string{"12s is no multiple of the flush interval 5s"},
		},
		{
			name: "flush", in: map[string]string{"statsFlushInterval": "5", "statsEvictionInterval": "10s"},
			want:     proxystats.Settings{Eviction: 10 * time.Second},
			mistakes: []string{`"5" is not a duration of at least 1ms, write a number with a unit such as 10s`},
		},
		{name: "long flush", in: map[string]string{"statsFlushInterval": "300s"}, mistakes: []string{"5m0s is too long, write less than 5m"}},
		{
			name: "no JSON", in: map[string]string{"statsHistogramBuckets": "1,2"},
			mistakes: []string{`is not JSON such as {"istiocustom": [1, 5, 10]}: invalid character ',' after top-level value`},
		},
		{
			name: "bounds", in: map[string]string{"statsHistogramBuckets": `{"a":[],"b":[0],"c":[1,1],"d":[1]}`},
			want: proxystats.Settings{Buckets: []proxystats.Buckets{{Prefix: "d", Bounds: []float64{1}}}},
			mistakes: []string{
				`bounds of "a": write at least one number, each above 0 and only once`,
				`bounds of "b": write at least one number, each above 0 and only once`,
				`bounds of "c": write at least one number, each above 0 and only once`,
			},
		},
		{
			name: "algorithm", in: map[string]string{"statsCompression": "gzip"},
			mistakes: []string{`"gzip" has no effect, write true or false: which compression is used the scraper says`},
		},
		{
			name: "tags", in: map[string]string{"extraStatTags": "ok,a b,,x("}, want: proxystats.Settings{Tags: []string{"ok"}},
			mistakes: []string{`"a b" is not a tag, write letters, digits, "_", "." and "-"`, `"x(" is not a tag, write letters, digits, "_", "." and "-"`},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := map[string]string{}
			for k, v := range c.in {
				in["sidecar.istio.io/"+k] = v
			}
			got, mistakes := proxystats.Read(in)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			var messages []string
			for _, m := range mistakes {
				messages = append(messages, m.Message)
				if _, ok := in[m.Annotation]; !ok {
					t.Errorf("a mistake of an annotation that is not there: %v", m)
				}
			}
			if diff := cmp.Diff(c.mistakes, messages); diff != "" {
				t.Error(diff)
			}
		})
	}
}

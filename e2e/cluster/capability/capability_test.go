package capability

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMissing(t *testing.T) {
	for _, c := range []struct {
		name, status string
		last         int
		want         []string
	}{
		{"everything", "CapPrm:\t0\nCapBnd:\t000001ffffffffff\n", 40, nil},
		{"one lacking", "CapBnd:\t000001fffeffffff\nCapAmb:\t0\n", 40, []string{"CAP_SYS_RESOURCE"}},
		{"ends only", "CapBnd:\t000000fffffffffe\n", 40, []string{"CAP_CHOWN", "CAP_CHECKPOINT_RESTORE"}},
		{"old kernel", "CapBnd:\t0000003fffffffff\n", 37, nil},
		{"newer kernel than known", "CapBnd:\t000001ffffffffff\n", 42, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Missing([]byte(c.status), c.last)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("Missing (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMissingRefusesOtherText(t *testing.T) {
	for _, status := range []string{"", "CapEff:\t0\n", "CapBnd:\tmany\n"} {
		if got, err := Missing([]byte(status), 40); err == nil {
			t.Errorf("Missing(%q) = %v; want an error", status, got)
		}
	}
}

func TestStrip(t *testing.T) {
	missing := []string{"CAP_SYS_RESOURCE"}
	for _, c := range []struct {
		name  string
		strip func([]byte, []string) ([]byte, error)
		in    string
		want  string
	}{
		{
			"bundle", StripBundle,
			`{"ociVersion":"1.0.2","process":{"capabilities":{"bounding":["CAP_KILL","CAP_SYS_RESOURCE"],"effective":["CAP_SYS_RESOURCE"]},` +
				`"rlimits":[{"hard":9223372036854775807,"type":"RLIMIT_AS"}]},"capabilities":{"bounding":["CAP_SYS_RESOURCE"]}}`,
			`{"capabilities":{"bounding":["CAP_SYS_RESOURCE"]},"ociVersion":"1.0.2","process":{"capabilities":{"bounding":["CAP_KILL"],` +
				`"effective":[]},"rlimits":[{"hard":9223372036854775807,"type":"RLIMIT_AS"}]}}`,
		},
		{
			"process", StripProcess,
			`{"args":["sh"],"capabilities":{"ambient":null,"permitted":["CAP_SYS_RESOURCE","CAP_CHOWN"]}}`,
			`{"args":["sh"],"capabilities":{"ambient":null,"permitted":["CAP_CHOWN"]}}`,
		},
		{"asks for none", StripBundle, `{"process": {}}`, `{"process": {}}`},
		{"no process", StripBundle, `{"root": {}}`, `{"root": {}}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := c.strip([]byte(c.in), missing)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, string(got)); diff != "" {
				t.Errorf("strip (-want +got):\n%s", diff)
			}
		})
	}
}

func TestStripRefusesOtherText(t *testing.T) {
	if got, err := StripBundle([]byte("{"), nil); err == nil {
		t.Errorf("StripBundle of half a document = %s; want an error", got)
	}
}

func FuzzStrip(f *testing.F) {
	f.Add([]byte(`{"process":{"capabilities":{"bounding":["CAP_SYS_RESOURCE",7,null]}}}`))
	f.Add([]byte(`{"process":[]}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		missing := []string{"CAP_SYS_RESOURCE"}
		once, err := StripBundle(doc, missing)
		if err != nil {
			return
		}
		twice, err := StripBundle(once, missing)
		if err != nil {
			t.Fatalf("a stripped document is not understood again: %v", err)
		}
		if diff := cmp.Diff(once, twice); diff != "" {
			t.Errorf("stripping twice changes more (-once +twice):\n%s", diff)
		}
	})
}

package source_test

import (
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicemesh/sluice/docs/gen/source"
)

const program = `package a

// The reasons of refusals.
const (
	NotReady = "NotReady" // nothing is known
	lower    = "lower"
)

// InvalidPort is the reason for a port out of range.
const InvalidPort = "InvalidPort"

// Not a code at all.
const Pod = "Pod"

type Reason string

const Typed Reason = "TypedCode" // by its type

func f() {
	w.report("path", "WrongType", fmt.Sprintf("must be %s", x))
	n.Warn("path", Other, "has no effect")
	_ = Problem{Origin: o, Reason: "Missing", Message: "name it" + more() + " or " + x + y + " it"}
	_ = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "a_total", Help: "As."}, []string{"type", "kind"})
	_ = prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "b", Help: "Bs.", ConstLabels: prometheus.Labels{"who": me}}, g)
	c := counter("c", "Cs.")
	v := vector("d", "Ds.", "type")
}
`

func read(t *testing.T) source.Folder {
	module := fstest.MapFS{
		"a/a.go":      {Data: []byte(program)},
		"a/a_test.go": {Data: []byte("package a\n\n// The reasons.\nconst T = \"FromTest\"\n")},
	}
	folders, err := source.Read(module, "a")
	if err != nil || len(folders) != 1 {
		t.Fatalf("Read = %v, %v", folders, err)
	}
	return folders[0]
}

func TestReasons(t *testing.T) {
	want := []source.Reason{
		{Code: "InvalidPort", Package: "a", Doc: "a port out of range."},
		{Code: "Missing", Package: "a", Doc: "name it… or … it"},
		{Code: "NotReady", Package: "a", Doc: "nothing is known"},
		{Code: "TypedCode", Package: "a", Doc: "by its type"},
		{Code: "WrongType", Package: "a", Doc: "must be %s"},
	}
	if diff := cmp.Diff(want, read(t).Reasons()); diff != "" {
		t.Errorf("Reasons differ (-want +got):\n%s", diff)
	}
}

func TestMetrics(t *testing.T) {
	want := []source.Metric{
		{Name: "x_a_total", Type: "counter", Help: "As.", Labels: []string{"type", "kind"}, Package: "a"},
		{Name: "x_b", Type: "gauge", Help: "Bs.", Labels: []string{"who"}, Package: "a"},
		{Name: "x_c", Type: "counter", Help: "Cs.", Package: "a", Labels: []string{}},
		{Name: "x_d", Type: "counter", Help: "Ds.", Labels: []string{"type"}, Package: "a"},
	}
	if diff := cmp.Diff(want, read(t).Metrics("x_")); diff != "" {
		t.Errorf("Metrics differ (-want +got):\n%s", diff)
	}
}

func TestReadReportsBrokenFiles(t *testing.T) {
	if _, err := source.Read(fstest.MapFS{"a/a.go": {Data: []byte("packag a")}}, "a"); err == nil {
		t.Error("Read of a broken file gave no error")
	}
}

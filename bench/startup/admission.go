package startup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"k8s.io/client-go/rest"

	"github.com/sluicemesh/sluice/bench/figure"
)

const (
	admissionMetric = "apiserver_admission_webhook_admission_duration_seconds"
	injectorSuffix  = ".sidecar-injector.istio.io"
)

// Admission counts the API server's calls of the injection webhook when pods were created.
type Admission struct {
	Calls uint64
	Total time.Duration     // of all calls
	Below map[string]uint64 // calls not above a bound, in seconds as the server writes it
}

// readAdmission asks the API server. Behind several of them it is the one that answers, so
// the figures are those of a part of the calls.
func readAdmission(ctx context.Context, client rest.Interface) (Admission, error) {
	text, err := client.Get().AbsPath("/metrics").DoRaw(ctx)
	if err != nil {
		return Admission{}, fmt.Errorf("read metrics of the API server: %w", err)
	}
	a, err := parseAdmission(text)
	if err != nil {
		return Admission{}, fmt.Errorf("read metrics of the API server: %w", err)
	}
	return a, nil
}

func parseAdmission(text []byte) (Admission, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		return Admission{}, err
	}
	a := Admission{Below: map[string]uint64{}}
	for _, m := range families[admissionMetric].GetMetric() {
		if label(m, "operation") != "CREATE" || !strings.HasSuffix(label(m, "name"), injectorSuffix) {
			continue
		}
		h := m.GetHistogram()
		a.Calls += h.GetSampleCount()
		a.Total += time.Duration(h.GetSampleSum() * float64(time.Second))
		for _, b := range h.GetBucket() {
			a.Below[strconv.FormatFloat(b.GetUpperBound(), 'g', -1, 64)] += b.GetCumulativeCount()
		}
	}
	return a, nil
}

func label(m *dto.Metric, name string) string {
	for _, l := range m.GetLabel() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}

// since is what came to a after before.
func (a Admission) since(before Admission) Admission {
	below := maps.Clone(a.Below)
	for bound, n := range before.Below {
		below[bound] -= n
	}
	return Admission{Calls: a.Calls - before.Calls, Total: a.Total - before.Total, Below: below}
}

// table shows the mean and how many calls were how quick: the server keeps no single times.
func (a Admission) table() figure.Table {
	t := figure.Table{
		Title: "Injection as the API server sees it",
		Head:  []string{"calls", "mean, ms", "≤ 5 ms", "≤ 25 ms", "≤ 100 ms"},
		Notes: []string{"HTTPS to the webhook and back included; from " + admissionMetric + ", whose buckets are this coarse"},
	}
	mean := "none"
	if a.Calls > 0 {
		mean = figure.Millis(a.Total / time.Duration(a.Calls))
	}
	t.Rows = [][]string{{
		fmt.Sprint(a.Calls), mean,
		fmt.Sprint(a.Below["0.005"]), fmt.Sprint(a.Below["0.025"]), fmt.Sprint(a.Below["0.1"]),
	}}
	return t
}

// said finds how long the init container took, in text logs and in JSON ones (nanoseconds).
var said = regexp.MustCompile(`interception is as configured.*\btook(?:=(\S+)|":(\d+))`)

// took reads it from the container's log.
func took(log string) (time.Duration, error) {
	lines := slices.Collect(strings.Lines(log))
	for _, l := range slices.Backward(lines) {
		m := said.FindStringSubmatch(l)
		switch {
		case m == nil:
		case m[1] != "":
			return time.ParseDuration(m[1])
		default:
			ns, err := strconv.ParseInt(m[2], 10, 64)
			return time.Duration(ns), err
		}
	}
	return 0, errors.New("the init container's log does not say how long it took:\n" + log)
}

package initcontainer

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/sluicemesh/sluice/initcontainer/model"
	"github.com/sluicemesh/sluice/initcontainer/verify"
)

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("write answer: %w", err)
	}
	return nil
}

// The answers for programs. Their names are a contract with who reads them.
type (
	answerJSON struct {
		Proven   bool         `json:"proven"`
		Families []familyJSON `json:"families"`
	}
	familyJSON struct {
		Family      string           `json:"family"`
		Proven      bool             `json:"proven"`
		Rules       int              `json:"rules"`
		TookMicros  int64            `json:"tookMicros"`
		Routing     string           `json:"routing,omitempty"`
		Differences []differenceJSON `json:"differences,omitempty"`
		More        int              `json:"more,omitempty"`
	}
	differenceJSON struct {
		Packets string     `json:"packets"`
		Example string     `json:"example,omitempty"`
		Happens string     `json:"happens,omitempty"`
		Wanted  string     `json:"wanted,omitempty"`
		Because string     `json:"because"`
		Rule    string     `json:"rule,omitempty"`
		Foreign bool       `json:"foreign,omitempty"`
		Unsure  bool       `json:"unsure,omitempty"`
		Way     []stepJSON `json:"way,omitempty"`
	}
	stepJSON struct {
		Place   string `json:"place,omitempty"`
		Rule    string `json:"rule,omitempty"`
		Matched bool   `json:"matched"`
		Note    string `json:"note,omitempty"`
	}
	traceJSON struct {
		Packet  string    `json:"packet"`
		Agrees  bool      `json:"agrees"`
		Wanted  string    `json:"wanted"`
		Because string    `json:"because"`
		Ways    []wayJSON `json:"ways"`
	}
	wayJSON struct {
		Happens string     `json:"happens"`
		Rule    string     `json:"rule,omitempty"`
		Unsure  bool       `json:"unsure,omitempty"`
		Steps   []stepJSON `json:"steps"`
	}
)

func jsonFindings(well bool, found []Finding) answerJSON {
	out := answerJSON{Proven: well}
	for _, f := range found {
		one := familyJSON{Family: f.Family.String(), Proven: f.Proven(), Rules: f.Rules, TookMicros: f.Took.Microseconds()}
		if f.Routing != nil {
			one.Routing = f.Routing.Error()
		}
		if f.Disproof != nil {
			one.More = f.Disproof.More
			for _, d := range f.Disproof.Differences {
				one.Differences = append(one.Differences, jsonDifference(d))
			}
		}
		out.Families = append(out.Families, one)
	}
	return out
}

func jsonDifference(d verify.Difference) differenceJSON {
	out := differenceJSON{
		Packets: d.Packets, Because: d.Want.Because,
		Rule: d.Rule, Foreign: d.Foreign, Unsure: d.Unsure, Way: jsonSteps(d.Trace),
	}
	if d.Exemplary() {
		out.Example, out.Happens, out.Wanted = d.Example.String(), d.Got.String(), d.Want.String()
	}
	return out
}

func jsonTracing(t verify.Tracing) traceJSON {
	out := traceJSON{Packet: t.Packet.String(), Agrees: t.Agrees(), Wanted: t.Want.String(), Because: t.Want.Because}
	for _, w := range t.Ways {
		out.Ways = append(out.Ways, wayJSON{Happens: w.Outcome.String(), Rule: w.By(), Unsure: w.Unsure, Steps: jsonSteps(w.Steps)})
	}
	return out
}

func jsonSteps(steps []model.Step) []stepJSON {
	var out []stepJSON
	for _, s := range steps {
		one := stepJSON{Rule: s.Rule, Matched: s.Matched, Note: s.Note}
		if s.Place.Chain != "" {
			one.Place = s.Place.String()
		}
		out = append(out, one)
	}
	return out
}

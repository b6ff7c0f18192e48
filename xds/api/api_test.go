package api_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/sluicemesh/sluice/internal/golden"
	"github.com/sluicemesh/sluice/xds/api"
	"github.com/sluicemesh/sluice/xds/ir"
)

func mesh() ir.Mesh {
	return ir.Mesh{TrustDomain: "cluster.local", RootNamespace: "istio-system", ClusterDomain: "cluster.local", AutoMTLS: true}
}

// TestConvert reads the objects of <kind>/testdata/*.in.yaml and compares what they become
// with *.out.yaml: the problems as a user reads them, then the values.
func TestConvert(t *testing.T) {
	for _, k := range api.All() {
		t.Run(k.GVK.Kind, func(t *testing.T) {
			golden.Run(t, strings.ToLower(k.GVK.Kind)+"/testdata", "yaml", "yaml", func(t *testing.T, in []byte) []byte {
				var out bytes.Buffer
				for doc := range bytes.SplitSeq(in, []byte("\n---\n")) {
					o := k.New()
					if err := yaml.UnmarshalStrict(doc, o); err != nil {
						t.Fatal(err)
					}
					out.Write(render(t, o.GetName(), k.Convert(o, mesh())))
				}
				return out.Bytes()
			})
		})
	}
}

func render(t *testing.T, name string, f api.Fragment) []byte {
	t.Helper()
	values := f
	values.Problems = nil
	text, err := json.Marshal(values)
	if err != nil {
		t.Fatal(err)
	}
	var tree any
	if err := json.Unmarshal(text, &tree); err != nil {
		t.Fatal(err)
	}
	text, err = yaml.Marshal(prune(tree))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	out.WriteString("# " + name + "\n")
	for _, p := range f.Problems {
		fatal := ""
		if p.Fatal {
			fatal = " (fatal)"
		}
		out.WriteString("# " + p.String() + fatal + "\n")
	}
	out.Write(text)
	out.WriteString("---\n")
	return out.Bytes()
}

// prune drops what says nothing: nulls, empty strings and false.
func prune(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			if e = prune(e); e == nil || e == "" || e == false {
				delete(v, k)
			}
		}
		if len(v) == 0 {
			return nil
		}
	case []any:
		for i := range v {
			v[i] = prune(v[i])
		}
		if len(v) == 0 {
			return nil
		}
	}
	return v
}

func TestKindNamesAreUnique(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range api.All() {
		if seen[k.GVK.Kind] {
			t.Errorf("kind %s is there twice", k.GVK.Kind)
		}
		seen[k.GVK.Kind] = true
	}
}

// FuzzConvert feeds any object of any kind to its conversion: it must not panic, and every
// problem must name the object, a reason and what to do.
func FuzzConvert(f *testing.F) {
	f.Add(uint8(5), []byte("spec: {servers: [{port: {number: 80, protocol: HTTP, name: http}, hosts: ['*']}]}"))
	f.Add(uint8(6), []byte("spec: {hosts: [a], http: [{match: [{uri: {prefix: /}}], route: [{destination: {host: b}}]}]}"))
	f.Add(uint8(6), []byte("spec: {hosts: [a], http: [{}], tls: [{}], tcp: [{}]}"))
	f.Add(uint8(7), []byte("spec: {host: a, trafficPolicy: {portLevelSettings: [{}]}, subsets: [{}]}"))
	f.Add(uint8(8), []byte("spec: {hosts: ['*.a'], endpoints: [{}], ports: [{}], resolution: DNS}"))
	f.Add(uint8(0), []byte("spec: {ports: [{port: 80}]}"))
	f.Add(uint8(1), []byte("endpoints: [{}]"))
	kinds := api.All()
	f.Fuzz(func(t *testing.T, kind uint8, text []byte) {
		k := kinds[int(kind)%len(kinds)]
		o := k.New()
		if yaml.Unmarshal(text, o) != nil {
			return
		}
		for _, p := range k.Convert(o, mesh()).Problems {
			if p.Reason == "" || p.Message == "" || p.Kind == "" {
				t.Errorf("incomplete problem: %+v", p)
			}
		}
	})
}

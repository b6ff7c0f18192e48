package settings

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicemesh/sluice/internal/problem"
	"github.com/sluicemesh/sluice/manifests"
)

// file is an IstioOperator object with this spec, indented by two.
func file(spec string) File {
	return File{Name: "my.yaml", Text: []byte("apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nspec:\n" + spec)}
}

// at returns what is at a path of maps in v.
func at(v any, path string) any {
	for _, key := range strings.Split(path, ".") {
		m, _ := v.(map[string]any)
		v = m[key]
	}
	return v
}

// TestLayers checks which layer wins, seen in the chart istiod's values.
func TestLayers(t *testing.T) {
	for _, tc := range []struct {
		name    string
		request Request
		path    string
		want    any
	}{
		{"the command's tag is the lowest", Request{Tag: "1.0"}, "global.tag", "1.0"},
		{"a set tag wins over the command's", Request{Tag: "1.0", Sets: []string{"tag=2.0"}}, "global.tag", "2.0"},
		{"a number is a tag, too", Request{Sets: []string{"tag=12"}}, "global.tag", "12"},
		{"a version is no number", Request{Sets: []string{"tag=1.20"}}, "global.tag", "1.20"},
		{"values.global.tag is the tag", Request{Tag: "1.0", Sets: []string{"values.global.tag=3.0"}}, "global.tag", "3.0"},
		{"of both spellings the later wins", Request{Sets: []string{"values.global.tag=3.0", "tag=4.0"}}, "global.tag", "4.0"},
		{"a set spelling wins over the file's other one", Request{Files: []File{file("  values: {global: {hub: a}}\n")}, Sets: []string{"hub=b"}}, "global.hub", "b"},
		{"the file's spelling wins over the profile's", Request{Files: []File{file("  values: {global: {hub: a}}\n")}}, "global.hub", "a"},
		{"a path may start with spec", Request{Sets: []string{"spec.hub=c"}}, "global.hub", "c"},
		{"the profile of a set", Request{Sets: []string{"profile=demo"}}, "pilot.traceSampling", 100.0},
		{"the profile of a file", Request{Files: []File{file("  profile: demo\n")}}, "pilot.traceSampling", 100.0},
		{"a set profile wins over the file's", Request{Files: []File{file("  profile: demo\n")}, Sets: []string{"profile=minimal"}}, "pilot.traceSampling", nil},
		{"the file wins over the profile", Request{Files: []File{file("  profile: demo\n  values: {pilot: {traceSampling: 5}}\n")}}, "pilot.traceSampling", 5.0},
		{"of two files the later wins", Request{Files: []File{file("  hub: a\n"), file("  hub: b\n")}}, "global.hub", "b"},
		{"a set wins over files", Request{Files: []File{file("  hub: a\n")}, Sets: []string{"hub=b"}}, "global.hub", "b"},
		{"commas belong to the value", Request{Sets: []string{"values.global.proxy.includeIPRanges=10.0.0.0/8,10.96.0.0/12"}}, "global.proxy.includeIPRanges", "10.0.0.0/8,10.96.0.0/12"},
		{"a list in YAML", Request{Sets: []string{`values.global.imagePullSecrets=[a, b]`}}, "global.imagePullSecrets", []any{"a", "b"}},
		{"mesh configuration", Request{Sets: []string{"meshConfig.accessLogFile=/dev/stderr"}}, "meshConfig.accessLogFile", "/dev/stderr"},
		{"mesh configuration in values", Request{Sets: []string{"values.meshConfig.accessLogFile=x"}}, "meshConfig.accessLogFile", "x"},
		{"a later file lays over maps", Request{Files: []File{
			file("  meshConfig: {accessLogFile: a, trustDomain: b}\n"), file("  values: {meshConfig: {accessLogFile: c}}\n"),
		}}, "meshConfig", map[string]any{"accessLogFile": "c", "trustDomain": "b"}},
		{"the revision flag wins", Request{Sets: []string{"revision=a"}, Revision: "b"}, "revision", "b"},
		{"the namespace flag wins", Request{Sets: []string{"namespace=a"}, Namespace: "b"}, "global.istioNamespace", "b"},
		{"the default namespace", Request{}, "global.istioNamespace", "istio-system"},
		{"the component wins over values", Request{Sets: []string{
			"components.pilot.k8s.replicaCount=3", "values.pilot.replicaCount=2",
		}}, "pilot.replicaCount", 3.0},
		{"gateways are not the control plane's", Request{}, "gateways.istio-ingressgateway", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, problems := Load(tc.request)
			if len(problems) > 0 {
				t.Fatalf("Load: %s", problem.Join(problems))
			}
			if diff := cmp.Diff(tc.want, at(s.PilotValues(), tc.path)); diff != "" {
				t.Errorf("values at %s (-want +got):\n%s", tc.path, diff)
			}
		})
	}
}

// TestGateways checks how lists of gateways are merged.
func TestGateways(t *testing.T) {
	for _, tc := range []struct {
		name    string
		request Request
		want    map[string]bool // name → enabled
	}{
		{"the default", Request{}, map[string]bool{"istio-ingressgateway": true, "istio-egressgateway": false}},
		{"by index", Request{Sets: []string{"components.egressGateways[0].enabled=true"}},
			map[string]bool{"istio-ingressgateway": true, "istio-egressgateway": true}},
		{"by name", Request{Files: []File{file("  components: {ingressGateways: [{name: istio-ingressgateway, enabled: false}]}\n")}},
			map[string]bool{"istio-ingressgateway": false, "istio-egressgateway": false}},
		{"another one", Request{Files: []File{file("  components: {ingressGateways: [{name: second, enabled: true}]}\n")}},
			map[string]bool{"istio-ingressgateway": true, "second": true, "istio-egressgateway": false}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, problems := Load(tc.request)
			if len(problems) > 0 {
				t.Fatalf("Load: %s", problem.Join(problems))
			}
			got := map[string]bool{}
			for _, g := range append(s.Components.IngressGateways, s.Components.EgressGateways...) {
				got[g.Name] = g.Enabled
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("gateways (-want +got):\n%s", diff)
			}
		})
	}
}

// TestGatewayValues checks the layers below a gateway's Service.
func TestGatewayValues(t *testing.T) {
	for _, tc := range []struct {
		name string
		sets []string
		want string
	}{
		{"the profile's", nil, "LoadBalancer"},
		{"the short form", []string{"values.gateways.istio-ingressgateway.type=NodePort"}, "NodePort"},
		{"the component", []string{"components.ingressGateways[0].k8s.service.type=ClusterIP", "values.gateways.istio-ingressgateway.type=NodePort"}, "ClusterIP"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, problems := Load(Request{Sets: tc.sets})
			if len(problems) > 0 {
				t.Fatalf("Load: %s", problem.Join(problems))
			}
			got := at(s.GatewayValues("ingressgateway", s.Components.IngressGateways[0]), "service.type")
			if got != tc.want {
				t.Errorf("type = %v; want %s", got, tc.want)
			}
		})
	}
}

// TestProblems checks what is refused, and that all of it is named at once.
func TestProblems(t *testing.T) {
	for _, tc := range []struct {
		name    string
		request Request
		want    []string
	}{
		{"unknown names in every tree", Request{Sets: []string{
			"component.pilot.enabled=true", "components.pilot.enable=true", "values.global.proxxy.image=x",
			"meshConfig.acessLogFile=x", "meshConfig.defaultConfig.holdApplication=true",
			"values.gateways.istio-ingressgateway.typ=x", "components.ingressGateways[0].k8s.servise.type=x",
		}}, []string{
			`--set component.pilot.enabled=true: component: is not a setting here; did you mean "components"? [UnknownSetting]`,
			`--set components.pilot.enable=true: components.pilot.enable: is not a setting here; did you mean "enabled"? [UnknownSetting]`,
			`--set values.global.proxxy.image=x: values.global.proxxy: is not a setting here; did you mean "proxy"? [UnknownSetting]`,
			`--set meshConfig.acessLogFile=x: meshConfig.acessLogFile: is not a setting here; did you mean "accessLogFile"? [UnknownSetting]`,
			`--set meshConfig.defaultConfig.holdApplication=true: meshConfig.defaultConfig.holdApplication: is not a setting here [UnknownSetting]`,
			`--set values.gateways.istio-ingressgateway.typ=x: values.gateways.istio-ingressgateway.typ: is not a setting here; did you mean "type"? [UnknownSetting]`,
			`--set components.ingressGateways[0].k8s.servise.type=x: components.ingressGateways[0].k8s.servise: is not a setting here; did you mean "service"? [UnknownSetting]`,
		}},
		{"a file and a set", Request{Files: []File{file("  hubb: x\n")}, Sets: []string{"profile=dem", "nothing"}}, []string{
			`IstioOperator settings: profile: "dem" is no profile; did you mean "demo"?; there are default, demo, empty, external, minimal, openshift, preview, remote [UnknownProfile]`,
			`IstioOperator my.yaml: hubb: is not a setting here; did you mean "hub"? [UnknownSetting]`,
			`--set nothing: must be path=value [Unreadable]`,
		}},
		{"another kind of object", Request{Files: []File{{Name: "a", Text: []byte("kind: Gateway\napiVersion: v1\n")}}}, []string{
			`IstioOperator a: is "Gateway" of "v1"; write kind: IstioOperator and apiVersion: install.istio.io/v1alpha1 [Unreadable]`,
		}},
		{"a scalar for a map", Request{Sets: []string{"values.global.logging=debug"}}, []string{
			`--set values.global.logging=debug: values.global.logging: must be a map with names out of level [WrongType]`,
		}},
		{"wrong values", Request{Sets: []string{"revision=a.b", "hub=", "components.ingressGateways[0].name=A"}}, []string{
			`IstioOperator settings: revision: "a.b": must not contain dots [InvalidName]`,
			`IstioOperator settings: hub: name the registry and folder of the images [Missing]`,
			`IstioOperator settings: components.ingressGateways[0].name: "A": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?') [InvalidName]`,
		}},
		{"a name twice", Request{Sets: []string{"components.ingressGateways[1].name=istio-ingressgateway"}}, []string{
			`IstioOperator settings: components.ingressGateways[1].name: "istio-ingressgateway" is there twice [Duplicate]`,
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, problems := Load(tc.request)
			var got []string
			for _, p := range problems {
				got = append(got, p.String())
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

// TestWrongTypes checks mistakes whose words come from decoders.
func TestWrongTypes(t *testing.T) {
	for set, want := range map[string]string{
		"meshConfig.accessLogFile=[1]":               "accessLogFile",
		"meshConfig.outboundTrafficPolicy.mode=NO":   "mode",
		"components.pilot.enabled=perhaps":           "enabled",
		"components.pilot.k8s.resources.limit.cpu=1": "limit",
		"hub=[a]": "hub",
	} {
		t.Run(set, func(t *testing.T) {
			_, problems := Load(Request{Sets: []string{set}})
			if len(problems) != 1 || problems[0].Reason != "WrongType" || !strings.Contains(problems[0].String(), want) {
				t.Errorf("problems = %q; want one WrongType that names %s", problem.Join(problems), want)
			}
		})
	}
}

// TestRoundTrip reads back the YAML of every profile.
func TestRoundTrip(t *testing.T) {
	for _, profile := range manifests.Profiles() {
		t.Run(profile, func(t *testing.T) {
			before, problems := Load(Request{Sets: []string{"profile=" + profile}, Tag: "1.2"})
			if len(problems) > 0 {
				t.Fatal(problem.Join(problems))
			}
			text, err := before.YAML()
			if err != nil {
				t.Fatal(err)
			}
			after, problems := Load(Request{Files: []File{{Name: "dump", Text: text}}})
			if len(problems) > 0 {
				t.Fatal(problem.Join(problems))
			}
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("settings after a round trip (-want +got):\n%s", diff)
			}
		})
	}
}

// FuzzAssign checks that no assignment makes the program stop.
func FuzzAssign(f *testing.F) {
	for _, seed := range []string{"a=b", "a[0].b={c: [1]}", "=", "a", "values.global.tag=1,2", "components.ingressGateways[5].name=x", "hub=[", "a.b[70000]=1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, set string) {
		s, problems := Load(Request{Sets: []string{set}})
		if len(problems) == 0 && s.Namespace == "" {
			t.Errorf("Load(%q) gave neither settings nor problems", set)
		}
	})
}

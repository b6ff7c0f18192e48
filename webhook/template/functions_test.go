package template

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluicemesh/sluice/internal/meshconfig"
)

// testData is a pod with a little of everything that functions read.
func testData() Data {
	config := meshconfig.DefaultProxyConfig()
	config.DrainDuration = durationpb.New(90 * time.Second)
	config.ProxyMetadata = map[string]string{"A": "b"}
	return Data{
		TypeMeta:       metav1.TypeMeta{Kind: "Deployment", APIVersion: "apps/v1"},
		DeploymentMeta: DeploymentMeta{Name: "web", Namespace: "shop"},
		ObjectMeta: &metav1.ObjectMeta{
			Name:        "web-1",
			Labels:      map[string]string{"app": "shop front", "version": "v2"},
			Annotations: map[string]string{"set": "yes", "empty": "", "resource.opentelemetry.io/service.namespace": "stores, all"},
		},
		Spec: &corev1.PodSpec{Containers: []corev1.Container{
			{Name: "app", Ports: []corev1.ContainerPort{{ContainerPort: 80}, {ContainerPort: 53, Protocol: corev1.ProtocolUDP}, {ContainerPort: 443, Protocol: corev1.ProtocolTCP}}},
			{Name: "istio-proxy", Ports: []corev1.ContainerPort{{ContainerPort: 15090}, {ContainerPort: 80}}},
		}},
		ProxyConfig: config,
		MeshConfig:  meshconfig.Default(),
		Values: map[string]any{"global": map[string]any{
			"hub": "example.com", "nothing": nil, "port": int64(15020),
			"resources": map[string]any{"limits": map[string]any{"cpu": nil, "memory": "1Gi"}},
		}},
		Revision: "default", NativeSidecars: true, ProxyImage: "example.com/proxyv2:1", ProxyInitImage: "example.com/init:1",
		ProxyUID: 1337, ProxyGID: 1338, InboundTrafficPolicyMode: "passthrough", CompliancePolicy: "fips-140-3",
	}
}

// print is what a template prints, without the YAML around it.
func print(t *testing.T, text string) (string, error) {
	t.Helper()
	s, err := Compile(Config{
		Texts:       map[string]string{"t": "metadata: {labels: {out: " + text + "}}"},
		Environment: map[string]string{"PILOT_X": "on"},
	})
	if err != nil {
		t.Fatal(err)
	}
	out := &meter{}
	err = s.templates["t"].Execute(out, testData().clone())
	return strings.TrimSuffix(strings.TrimPrefix(out.buf.String(), "metadata: {labels: {out: "), "}}"), err
}

func TestFunctions(t *testing.T) {
	tests := []struct{ text, want string }{
		{"{{ annotation .ObjectMeta `set` `no` }}", "yes"},
		{"{{ annotation .ObjectMeta `empty` `no` }}", ""},
		{"{{ annotation .ObjectMeta `absent` .Values.global.port }}", "15020"},
		{"{{ annotation .ObjectMeta `absent` .Values.global.nothing }}", ""},
		{"{{ appendMultusNetwork `` `default/istio-cni` }}", "default/istio-cni"},
		{"{{ appendMultusNetwork `a, b` `default/istio-cni` }}", "a, b,default/istio-cni"},
		{"{{ appendMultusNetwork `a,default/istio-cni` `default/istio-cni` }}", "a,default/istio-cni"},
		{"{{ appendMultusNetwork `[{\"name\":\"a\",\"ips\":[\"10.0.0.1\"]}]` `default/istio-cni` }}", `[{"name":"a","ips":["10.0.0.1"]},{"name":"istio-cni","namespace":"default"}]`},
		{"{{ appendMultusNetwork `[{\"name\":\"istio-cni\",\"namespace\":\"default\"}]` `default/istio-cni` }}", `[{"name":"istio-cni","namespace":"default"}]`},
		{"{{ appendMultusNetwork `[{\"name\":` `default/istio-cni` }}", `[{"name":`},
		{"{{ applicationPorts .Spec.Containers }}", "80,443"},
		{"{{ includeInboundPorts .Spec.Containers }}", "80,443,15090"},
		{"{{ contains `/` `example.com/a` }} {{ contains `example.com/a` `/` }}", "true false"},
		{"{{ directory `/etc/certs/ca.pem` }} {{ directory `ca.pem` }}", "/etc/certs/ "},
		{"{{ env `PILOT_X` `off` }} {{ env `HOME` `none` }}", "on none"},
		{"{{ excludeInboundPort .Values.global.port `15090,15021` }}", "15090,15021,15020"},
		{"{{ excludeInboundPort `15021` `15090, 15021` }}", "15090, 15021"},
		{"{{ excludeInboundPort 0 `22` }} {{ excludeInboundPort `` `22` }} {{ excludeInboundPort .Values.global.nothing `22` }}", "22 22 22"},
		{"{{ excludeInboundPort 80 `` }}", "80"},
		{"{{ excludeInterfaces `eth1, eth2,` }} {{ kubevirtInterfaces ` docker0` }}", "eth1,eth2 docker0"},
		{"{{ formatDuration .ProxyConfig.DrainDuration }} {{ formatDuration .ProxyConfig.TerminationDrainDuration }}", "1m30s 5s"},
		{"{{ range $k, $v := fromJSON `{\"b\":{\"x\":1},\"a\":2}` }}{{ $k }} {{ end }}", "a b "},
		{"{{ indent 2 `a\nb\n\nc` }}", "a\n  b\n  \n  c"},
		{"{{ nindent 2 `a\nb` }}", "\n  a\n  b"},
		{"{{ isset .ObjectMeta.Annotations `empty` }} {{ isset .ObjectMeta.Annotations `absent` }} {{ isset .Values.global `nothing` }} {{ isset .Values.global.nothing `x` }}", "true false true false"},
		{"{{ keys .Values.global | join ` ` }}", "hub nothing port resources"},
		{"{{ values (dict `b` 2 `a` 1) | join ` ` }}", "1 2"},
		{"{{ toJsonMap (strdict `b` 1 `a` `x`) (omit .ObjectMeta.Labels `app`) }}", `{"a":"x","b":"1","version":"v2"}`},
		{"{{ toJSON (mergeMaps .ObjectMeta.Labels (strdict `version` `v3`)) }}", `{"app":"shop front","version":"v3"}`},
		{"{{ omit (dict `a` 1 `b` 2) `b` | toJSON }} {{ omit .Values.global.nothing `b` | toJSON }}", `{"a":1} {}`},
		{"{{ omitNil .Values.global.resources | toJSON }}", `{"limits":{"memory":"1Gi"}}`},
		{"{{ otelResourceAttributes . }}", "service.name=shop%20front,service.namespace=stores%2C%20all,service.version=v2"},
		{"{{ otelResourceAttributes .DeploymentMeta }}", "service.name=web,service.namespace=shop"},
		{"{{ protoToJSON .ProxyConfig }}", `{"drainDuration":"90s","proxyMetadata":{"A":"b"}}`},
		{"{{ protoToJSON .ProxyConfig.Tracing }}", "{}"},
		{"{{ range .Spec.Containers }}{{ range .Ports }}{{ structToJSON . }}{{ end }}{{ end }}", `{"containerPort":80}{"containerPort":53,"protocol":"UDP"}{"containerPort":443,"protocol":"TCP"}{"containerPort":15090}{"containerPort":80}`},
		{"{{ toJSON .ObjectMeta.Labels }} {{ toJSON .Values.global.nothing }} {{ toJSON (dict `a` `<&>`) }}", `{"app":"shop front","version":"v2"} {} {"a":"<&>"}`},
		{"{{ toLower `SHOP` }}", "shop"},
		{"{{ toYaml .Values.global.resources }}", "limits:\n  cpu: null\n  memory: 1Gi"},
		{"{{ valueOrDefault .Values.global.nothing `a` }} {{ valueOrDefault `` `b` }} {{ valueOrDefault `c` `d` }} {{ valueOrDefault 0 `e` }}", "a b c 0"},
		{"{{ until 3 }} {{ until -2 }} {{ untilStep 0 7 3 }} {{ untilStep 0 3 -1 }} {{ untilStep 5 0 -2 }} {{ untilStep 0 3 0 }}", "[0 1 2] [0 -1] [0 3 6] [] [5 3 1] []"},
		{"{{ seq 3 }}|{{ seq 2 4 }}|{{ seq 0 2 4 }}|{{ seq 3 1 }}|{{ seq }}", "1 2 3|2 3 4|0 2 4|3 2 1|"},
		{"{{ repeat 3 `ab` }}", "ababab"},
		{"{{ .ObjectMeta.Labels.app | default `x` | quote }} {{ .TypeMeta.Kind }} {{ .DeploymentMeta.Name }}", `"shop front" Deployment web`},
		{"{{ .Revision }} {{ .NativeSidecars }} {{ .ProxyImage }} {{ .ProxyInitImage }} {{ .ProxyUID }} {{ .ProxyGID }} {{ .InboundTrafficPolicyMode }} {{ .CompliancePolicy }} {{ .MeshConfig.TrustDomain }}",
			"default true example.com/proxyv2:1 example.com/init:1 1337 1338 passthrough fips-140-3 cluster.local"},
	}
	for _, tt := range tests {
		got, err := print(t, tt.text)
		if err != nil || got != tt.want {
			t.Errorf("%s = %q, %v; want %q", tt.text, got, err, tt.want)
		}
	}
}

func TestFunctionsFail(t *testing.T) {
	tests := []struct{ text, want string }{
		{"{{ excludeInboundPort `http` `` }}", `"http" is not a port`},
		{"{{ excludeInboundPort 70000 `` }}", `"70000" is not a port`},
		{"{{ fromJSON `{` }}", "read JSON"},
		{"{{ toJSON (list (index (tuple formatDuration) 0)) }}", "wrong number of args"},
		{"{{ isset `text` `a` }}", "string is no map of texts"},
		{"{{ omit `text` `a` }}", "string is no map of texts"},
		{"{{ strdict `a` }}", "keys and values in turn"},
		{"{{ otelResourceAttributes `web` }}", "string says nothing about a resource"},
		{"{{ indent -1 `a` }}", "out of bounds"},
		{"{{ nindent 100000 `a` }}", "out of bounds"},
		{"{{ repeat 100000000 `a` }}", "out of bounds"},
		{"{{ repeat -1 `a` }}", "out of bounds"},
		{"{{ until 1000000 }}", "too many"},
		{"{{ untilStep 0 -9223372036854775807 -1 }}", "too many"},
		{"{{ seq 1 1000000 }}", "too many"},
	}
	for _, tt := range tests {
		if got, err := print(t, tt.text); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s = %q, %v; want an error with %q", tt.text, got, err, tt.want)
		}
	}
}

// TestNothingImpure: what depends on time, chance, the machine or on much computing does
// not exist.
func TestNothingImpure(t *testing.T) {
	for _, call := range []string{
		"now", "date `2006` 0", "ago 0", "randAlphaNum 3", "randInt 1 2", "shuffle `abc`", "uuidv4", "expandenv `$HOME`",
		"getHostByName `localhost`", "genPrivateKey `rsa`", "genCA `a` 1", "bcrypt `a`", "htpasswd `a` `b`", "encryptAES `a` `b`",
		"derivePassword 1 `long` `a` `b` `c`", "durationRound `1h`", "toDate `2006` `2007`",
	} {
		_, err := Compile(Config{Texts: map[string]string{"t": "{{ " + call + " }}"}})
		if err == nil || !strings.Contains(err.Error(), "not defined") {
			t.Errorf("%s: error = %v; want that it is not defined", call, err)
		}
	}
}

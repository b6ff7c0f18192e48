package params

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestValuesTolerated: keys and forms of Istio's charts that mean nothing here, or mean
// the same in another spelling.
func TestValuesTolerated(t *testing.T) {
	for name, text := range map[string]string{
		"foreign keys":    `{"global":{"configValidation":true,"proxy":{"enableCoreDump":false,"tracer":"none","zzz":{}}},"istio_cni":{"chained":true},"ztunnel":{},"base":[1]}`,
		"empty objects":   `{"global":{"proxy":{"lifecycle":{},"seccompProfile":{},"resources":{}}},"gateways":{"securityContext":{},"seccompProfile":{}}}`,
		"nulls":           `{"global":{"tag":null,"caName":null,"imagePullSecrets":null,"proxy":{"resources":{"limits":{"cpu":null}},"lifecycle":null}},"pilot":{"cni":null,"env":null}}`,
		"empty words":     `{"global":{"hub":"","istioNamespace":"","pilotCertProvider":"","caName":"","trustBundleName":"","proxy":{"image":"","logLevel":""}}}`,
		"numbers":         `{"global":{"tag":1.2,"hub":"h","network":"n"},"pilot":{"env":{"COMPLIANCE_POLICY":"","PILOT_X":5,"PILOT_Y":true,"PILOT_Z":{"a":[]}}}}`,
		"ports as number": `{"global":{"meshID":7,"network":8,"multiCluster":{"clusterName":9},"proxy":{"excludeOutboundPorts":25,"excludeInboundPorts":22,"includeOutboundPorts":443,"includeInboundPorts":80}}}`,
	} {
		t.Run(name, func(t *testing.T) {
			v, err := ParseValues(text, "1.0.0")
			if err != nil {
				t.Fatal(err)
			}
			if v.Global.Proxy.Image != "proxyv2" || v.Global.PilotCertProvider != "istiod" || v.Global.IstioNamespace != "istio-system" {
				t.Errorf("defaults lost: %+v", v.Global)
			}
			if v.Global.Proxy.Lifecycle != nil || v.Global.Proxy.SeccompProfile != nil || v.Gateways.SecurityContext != nil {
				t.Error("an empty object counts as set")
			}
		})
	}
}

// TestValuesRefused: what cannot be had is said with its path.
func TestValuesRefused(t *testing.T) {
	tests := map[string]struct{ values, want string }{
		"provider":   {`{"global":{"pilotCertProvider":"k8s.io/clusterissuers.x"}}`, `global.pilotCertProvider is "k8s.io/clusterissuers.x"`},
		"other CA":   {`{"global":{"caName":"GkeWorkloadCertificate"}}`, `global.caName is "GkeWorkloadCertificate"`},
		"compliance": {`{"pilot":{"env":{"COMPLIANCE_POLICY":"strict"}}}`, `pilot.env.COMPLIANCE_POLICY is "strict"`},
		"type":       {`{"global":{"proxy":{"privileged":"yes"}}}`, "global.proxy.privileged"},
		"quantity":   {`{"global":{"proxy":{"resources":{"limits":{"cpu":"lots"}}}}}`, "parse values"},
		"no JSON":    {`global: {}`, "parse values"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := ParseValues(tt.values, "1"); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v; want it to contain %q", err, tt.want)
			}
		})
	}
}

// TestNotes: what is accepted and does not do what it says.
func TestNotes(t *testing.T) {
	d := defaultsOf(t, `{"global":{"podDNSSearchNamespaces":["global"]},"pilot":{"env":{"ENABLE_CLUSTER_TRUST_BUNDLE_API":true,"COMPLIANCE_POLICY":"pqc"}}}`, Install{})
	want := []string{
		"global.podDNSSearchNamespaces has no effect: pods that need search domains write them into dnsConfig",
		"pilot.env.ENABLE_CLUSTER_TRUST_BUNDLE_API: the control plane does not publish the ClusterTrustBundle istio.io:istiod-ca:root-cert, pods wait for it until something else does",
		"pilot.env.COMPLIANCE_POLICY is handed to the proxies, but does not restrict Envoy's TLS",
	}
	if diff := cmp.Diff(want, d.Notes); diff != "" {
		t.Errorf("notes differ (-want +got):\n%s", diff)
	}
	if notes := defaultsOf(t, "", Install{}).Notes; len(notes) > 0 {
		t.Errorf("notes of the built-in values: %q", notes)
	}
}

// TestTrust: where the control plane's roots come from.
func TestTrust(t *testing.T) {
	tests := map[string]struct {
		values string
		want   Trust
	}{
		"built-in": {"", Trust{ConfigMap: "istio-ca-root-cert"}},
		"name":     {`{"global":{"trustBundleName":"roots","mountMtlsCerts":true}}`, Trust{ConfigMap: "roots", Secrets: true}},
		"bundle":   {`{"global":{"trustBundleName":"roots"},"pilot":{"env":{"ENABLE_CLUSTER_TRUST_BUNDLE_API":"true"}}}`, Trust{Bundle: "istio.io:istiod-ca:root-cert"}},
		"off":      {`{"pilot":{"env":{"ENABLE_CLUSTER_TRUST_BUNDLE_API":"false"}}}`, Trust{ConfigMap: "istio-ca-root-cert"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p, _ := Resolve(Input{Pod: onePod(nil), Defaults: defaultsOf(t, tt.values, Install{})})
			if diff := cmp.Diff(tt.want, p.Trust); diff != "" {
				t.Errorf("trust differs (-want +got):\n%s", diff)
			}
		})
	}
}

// TestInit: which container installs or checks the rules.
func TestInit(t *testing.T) {
	tests := map[string]struct {
		values string
		want   Init
	}{
		"built-in":                 {"", Init{Name: "istio-init"}},
		"options":                  {`{"global":{"nativeNftables":true,"proxy":{"privileged":true},"proxy_init":{"forceApplyIptables":true}}}`, Init{Name: "istio-init", Privileged: true, ForceApply: true, NativeNftables: true}},
		"plugin":                   {`{"pilot":{"cni":{"enabled":true}}}`, Init{Name: "istio-validation", CNI: true}},
		"multus":                   {`{"pilot":{"cni":{"enabled":true,"provider":"multus"}}}`, Init{Name: "istio-validation", CNI: true, Multus: true}},
		"no multus without plugin": {`{"pilot":{"cni":{"provider":"multus"}}}`, Init{Name: "istio-init"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p, _ := Resolve(Input{Pod: onePod(nil), Defaults: defaultsOf(t, tt.values, Install{})})
			if diff := cmp.Diff(tt.want, p.Init); diff != "" {
				t.Errorf("init differs (-want +got):\n%s", diff)
			}
		})
	}
}

// TestWorkload: whom a pod stands for is the subject of the golden rows; here are names
// that only look like a CronJob's or a Deployment's.
func TestCronJobName(t *testing.T) {
	for name, want := range map[string]string{
		"report-29112345": "report", "report-1700000000": "report", "a-b-29112345": "a-b",
		"report-1234567": "", "report-17000000000": "", "report": "", "-29112345": "", "report-2911234x": "",
	} {
		got := ""
		if m := cronJobName.FindStringSubmatch(name); m != nil {
			got = m[1]
		}
		if got != want {
			t.Errorf("cron job of %q = %q; want %q", name, got, want)
		}
	}
}

package multus

import "testing"

func TestAppend(t *testing.T) {
	tests := []struct{ list, network, want string }{
		{"", "default/istio-cni", "default/istio-cni"},
		{"  ", "default/istio-cni", "default/istio-cni"},
		{"sriov", "default/istio-cni", "sriov,default/istio-cni"},
		{"a, b@eth1", "default/istio-cni", "a, b@eth1,default/istio-cni"},
		{"a, default/istio-cni", "default/istio-cni", "a, default/istio-cni"},
		{`[]`, "default/istio-cni", `[{"name":"istio-cni","namespace":"default"}]`},
		{`[]`, "istio-cni", `[{"name":"istio-cni"}]`},
		{`[{"name":"a","x":{"y":1}}]`, "default/istio-cni", `[{"name":"a","x":{"y":1}},{"name":"istio-cni","namespace":"default"}]`},
		{`[{"name":"istio-cni"}]`, "default/istio-cni", `[{"name":"istio-cni"}]`},
		{`[{"name":"istio-cni"}]`, "other/istio-cni", `[{"name":"istio-cni"},{"name":"istio-cni","namespace":"other"}]`},
		{`[{"name":"default/istio-cni"}]`, "default/istio-cni", `[{"name":"default/istio-cni"}]`},
		{`[{"name":"istio-cni","namespace":"other"}]`, "default/istio-cni", `[{"name":"istio-cni","namespace":"other"},{"name":"istio-cni","namespace":"default"}]`},
		{`[{`, "default/istio-cni", `[{`},
		{`[1,"a"]`, "default/istio-cni", `[1,"a"]`},
	}
	for _, tt := range tests {
		if got := Append(tt.list, tt.network); got != tt.want {
			t.Errorf("Append(%q, %q) = %q; want %q", tt.list, tt.network, got, tt.want)
		}
	}
}

package memory

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	const text = `sluiced 0::/../../kubelet-kubepods-burstable-pod99e35c17_bcd2_4530_b060_b21d768f4e09.slice/cri-containerd-08.scope; VmRSS: 63948 kB RssAnon: 30672 kB 
pilot-agent 12:cpu:/kubepods/pod5857e7d2-4c0f-4242-bf98-309683dce5ba/a2;0::/; VmRSS:    24600 kB RssAnon:     9456 kB 
envoy 0::/kubepods/pod5857e7d2-4c0f-4242-bf98-309683dce5ba/a2; VmRSS: 69844 kB RssAnon: 16904 kB 
envoy 0::/user.slice/session-1.scope; VmRSS: 1 kB RssAnon: 1 kB 
envoy 0::/kubepods/pod5857e7d2-4c0f-4242-bf98-309683dce5ba/a3; 
`
	got := parse(text, map[string]string{"99e35c17-bcd2-4530-b060-b21d768f4e09": "istio-system/istiod-0"})
	want := []Process{
		{"sluiced", "istio-system/istiod-0", 65482752, 31408128},
		{"sluice-agent", "5857e7d2-4c0f-4242-bf98-309683dce5ba", 25190400, 9682944},
		{"Envoy", "5857e7d2-4c0f-4242-bf98-309683dce5ba", 71520256, 17309696},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("parse (-want +got):\n%s", diff)
	}
}

func TestTable(t *testing.T) {
	got := Result{Services: 12, Processes: []Process{{"Envoy", "default/web", 71520256, 17309696}}}.Table()
	if got.Title != "Memory with 12 Services in the mesh, MiB" {
		t.Errorf("title %q", got.Title)
	}
	if diff := cmp.Diff([][]string{{"Envoy", "default/web", "68.2", "16.5"}}, got.Rows); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

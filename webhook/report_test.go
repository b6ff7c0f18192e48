package webhook

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/sluicemesh/sluice/webhook/notice"
)

// recorded is a recorder that keeps what it is told, one line an Event.
type recorded struct {
	mu    sync.Mutex
	lines []string
}

func (r *recorded) Eventf(regarding, related runtime.Object, kind, reason, action, note string, args ...any) {
	ref := regarding.(*corev1.ObjectReference)
	r.mu.Lock()
	defer r.mu.Unlock()
	on := ref.Kind + " " + ref.Namespace + "/" + ref.Name
	if related != nil {
		pod := related.(*corev1.ObjectReference)
		on += " (" + pod.Kind + " " + pod.Namespace + "/" + pod.Name + ")"
	}
	r.lines = append(r.lines, fmt.Sprintf("%s: %s %s %s: %s", on, kind, action, reason, fmt.Sprintf(note, args...)))
}

func (r *recorded) take() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.lines, "\n")
}

// TestReports holds which answers become Events, on which object.
func TestReports(t *testing.T) {
	const owner = `"ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"web-7d","uid":"u7","controller":true}]`
	const why = "Pod shop/web-7d-*: not injected: spec.hostNetwork is true; remove spec.hostNetwork: on the node's network, " +
		"interception would capture the whole node's traffic [HostNetwork]"
	tests := []struct{ name, request, want string }{
		{"injected", `"object":{"metadata":{"name":"web"},"spec":{"containers":[{"name":"app"}]}}`, ""},
		{
			"left alone, of a controller", `"object":{"metadata":{"generateName":"web-7d-",` + owner + `},"spec":{"hostNetwork":true}}`,
			"ReplicaSet shop/web-7d: Normal Inject HostNetwork: " + why,
		},
		{
			"left alone, bare", `"object":{"metadata":{"generateName":"web-7d-"},"spec":{"hostNetwork":true}}`,
			"Namespace shop/shop: Normal Inject HostNetwork: " + why,
		},
		{
			"refused, bare and named", `"object":{"metadata":{"name":"web","annotations":{"sidecar.istio.io/proxyCPU":"much"}},` +
				`"spec":{"containers":[{"name":"app"}]}}`,
			`Namespace shop/shop (Pod shop/web): Warning Inject InvalidAnnotation: Pod shop/web: metadata.annotations[sidecar.istio.io/proxyCPU]: ` +
				`"much" is not a quantity, write a number with a unit such as 100m or 128Mi [InvalidAnnotation]`,
		},
		{"left alone, dry run", `"dryRun":true,"object":{"metadata":{"name":"web"},"spec":{"hostNetwork":true}}`, ""},
		{"opted out", `"object":{"metadata":{"name":"web","labels":{"sidecar.istio.io/inject":"false"}}}`, ""},
		{
			"refused", `"object":{"metadata":{"name":"web","namespace":"shop",` + owner +
				`,"annotations":{"sidecar.istio.io/proxyCPU":"much"}},"spec":{"containers":[{"name":"app"}]}}`,
			`ReplicaSet shop/web-7d: Warning Inject InvalidAnnotation: Pod shop/web: metadata.annotations[sidecar.istio.io/proxyCPU]: ` +
				`"much" is not a quantity, write a number with a unit such as 100m or 128Mi [InvalidAnnotation]`,
		},
		{
			"refused, dry run", `"dryRun":true,"object":{"metadata":{"name":"web","annotations":{"sidecar.istio.io/proxyCPU":"much"}},` +
				`"spec":{"containers":[{"name":"app"}]}}`, "",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h, events := testHandler(t), &recorded{}
			h.notices = notice.NewBoard(events)
			for range 3 { // said once
				readReview(t, post(t, h, "/inject", jsonType, `{"request":{"uid":"u1","namespace":"shop",`+tt.request+`}}`))
			}
			if diff := cmp.Diff(tt.want, events.take()); diff != "" {
				t.Errorf("Events differ (-want +got):\n%s", diff)
			}
		})
	}
}

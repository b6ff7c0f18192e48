package webhook

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

// testReports: a pod that is left alone and one that is refused become Events, a dry run
// does not.
func testReports(t *testing.T, c client.Client) {
	dry := plainPod("rev-default", nil)
	dry.Annotations = map[string]string{"sidecar.istio.io/proxyMemory": "dry"}
	if err := c.Create(t.Context(), dry, client.DryRunAll); err == nil {
		t.Fatal("a bad annotation is accepted")
	}
	refused := plainPod("rev-default", nil)
	refused.Annotations = map[string]string{"sidecar.istio.io/proxyMemory": "much"}
	if err := c.Create(t.Context(), refused); err == nil {
		t.Fatal("a bad annotation is accepted")
	}
	waitFor(t, "an Event about the refused pod", func() bool {
		e, ok := event(t, c, "rev-default", "InvalidAnnotation")
		return ok && e.Type == corev1.EventTypeWarning && e.Regarding.Kind == "Namespace" && e.Regarding.Name == "rev-default" &&
			e.Note == `Pod rev-default/web-*: metadata.annotations[sidecar.istio.io/proxyMemory]: "much" is not a quantity, `+
				`write a number with a unit such as 100m or 128Mi [InvalidAnnotation]`
	})
	host := plainPod("rev-default", nil)
	host.Spec.HostNetwork = true
	create(t, c, host)
	waitFor(t, "an Event about the pod that was left alone", func() bool {
		e, ok := event(t, c, "rev-default", "HostNetwork")
		return ok && e.Type == corev1.EventTypeNormal
	})
}

// testAudit: pods are created before their namespace is labelled, and found when it is; one
// that goes is forgotten.
func testAudit(t *testing.T, c client.Client) {
	pod, other := plainPod("late", nil), plainPod("late", map[string]string{"sidecar.istio.io/inject": "false"})
	create(t, c, pod, other)
	var n corev1.Namespace
	if err := c.Get(t.Context(), client.ObjectKey{Name: "late"}, &n); err != nil {
		t.Fatal(err)
	}
	n.Labels["istio-injection"] = "enabled"
	if err := c.Update(t.Context(), &n); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the pod in the gauge", func() bool { return uninjected(t, "late", "MissedAtCreation") == 1 })
	waitFor(t, "an Event on the pod", func() bool {
		e, ok := event(t, c, "late", "NotInjected")
		return ok && e.Type == corev1.EventTypeWarning && e.Regarding.Kind == "Pod" && e.Regarding.Name == pod.Name && e.Regarding.UID == pod.UID
	})
	injected := plainPod("late", nil)
	create(t, c, injected)
	if err := c.Delete(t.Context(), pod, client.GracePeriodSeconds(0)); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "an empty gauge", func() bool { return uninjected(t, "late", "MissedAtCreation") == 0 })
}

// event returns the first Event of a namespace with the reason.
func event(t *testing.T, c client.Client, namespace, reason string) (eventsv1.Event, bool) {
	t.Helper()
	var list eventsv1.EventList
	if err := c.List(t.Context(), &list, client.InNamespace(namespace)); err != nil {
		t.Fatal(err)
	}
	for _, e := range list.Items {
		if e.Reason == reason {
			return e, true
		}
	}
	return eventsv1.Event{}, false
}

// uninjected reads the gauge; 0 where it has no such series.
func uninjected(t *testing.T, namespace, reason string) float64 {
	t.Helper()
	families, err := metrics.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.Metric {
			if f.GetName() == "sluice_uninjected_pods" && m.Label[0].GetValue() == namespace && m.Label[1].GetValue() == reason {
				return m.Gauge.GetValue()
			}
		}
	}
	return 0
}

package balancer

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"testing"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	ktesting "k8s.io/client-go/testing"
)

// The API server refuses once; then the address is there all the same, and Run ends with its context.
func TestRun(t *testing.T) {
	client := fake.NewClientset()
	var refused atomic.Bool
	client.PrependReactor("update", "services", func(ktesting.Action) (bool, runtime.Object, error) {
		if refused.CompareAndSwap(false, true) {
			return true, nil, errors.New("overloaded")
		}
		return false, nil, nil
	})
	pool, err := NewPool(netip.MustParsePrefix("198.18.7.0/24"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var group errgroup.Group
	group.Go(func() error { return Run(ctx, client, pool, slog.New(slog.DiscardHandler)) })

	services := client.CoreV1().Services("a")
	watch, err := services.Watch(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "a"}}
	service.Spec.Type, service.Spec.IPFamilies = corev1.ServiceTypeLoadBalancer, []corev1.IPFamily{corev1.IPv4Protocol}
	if _, err := services.Create(ctx, service, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for event := range watch.ResultChan() {
		if got := ips(event.Object.(*corev1.Service).Status.LoadBalancer.Ingress); got != "" {
			if got != " 198.18.7.1" {
				t.Errorf("the service got%s; want 198.18.7.1", got)
			}
			break
		}
	}
	watch.Stop()
	cancel()
	if err := group.Wait(); err != nil {
		t.Errorf("Run = %v; want nil when its context ends", err)
	}
	if !refused.Load() {
		t.Error("no write was refused: the retry was not tested")
	}
}

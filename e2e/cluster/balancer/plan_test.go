package balancer

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/sluicemesh/sluice/internal/golden"
)

func TestPlan(t *testing.T) {
	golden.Run(t, "testdata", "yaml", "txt", func(t *testing.T, in []byte) []byte {
		var c struct {
			Pool     []netip.Prefix
			Services []*corev1.Service
		}
		if err := yaml.UnmarshalStrict(in, &c); err != nil {
			t.Fatal(err)
		}
		pool, err := NewPool(c.Pool...)
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		for _, change := range Plan(pool, c.Services) {
			fmt.Fprintf(&out, "%s/%s:%s\n", change.Service.Namespace, change.Service.Name, ips(change.Ingress))
		}
		return []byte(out.String())
	})
}

func ips(ingress []corev1.LoadBalancerIngress) string {
	var list strings.Builder
	for _, each := range ingress {
		fmt.Fprintf(&list, " %s", each.IP)
	}
	return list.String()
}

// Whatever services do, after the planned writes there is nothing left to plan, no address is held twice, and nobody who
// had a valid address has lost it.
func TestPlanSettles(t *testing.T) {
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 7))
		pool, err := NewPool(netip.MustParsePrefix("198.18.0.0/29"), netip.MustParsePrefix("fd5a::/125"))
		if err != nil {
			t.Fatal(err)
		}
		var services []*corev1.Service
		for step := range 30 {
			services = edit(random, services, step)
			before := map[*corev1.Service]string{}
			for _, service := range services {
				before[service] = ips(service.Status.LoadBalancer.Ingress)
			}
			for _, change := range Plan(pool, services) {
				change.Service.Status.LoadBalancer.Ingress = change.Ingress
			}
			if again := Plan(pool, services); len(again) > 0 {
				t.Fatalf("seed %d step %d: %d changes after the planned ones, first %+v", seed, step, len(again), again[0])
			}
			check(t, services, before)
		}
	}
}

func edit(random *rand.Rand, services []*corev1.Service, step int) []*corev1.Service {
	families := [][]corev1.IPFamily{{corev1.IPv4Protocol}, {corev1.IPv6Protocol}, {corev1.IPv4Protocol, corev1.IPv6Protocol}}
	if len(services) == 0 || random.IntN(2) == 0 {
		service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{
			Name: fmt.Sprint(step), CreationTimestamp: metav1.NewTime(time.Unix(int64(random.IntN(5)), 0)),
		}}
		service.Spec.Type, service.Spec.IPFamilies = corev1.ServiceTypeLoadBalancer, families[random.IntN(3)]
		return append(services, service)
	}
	at := random.IntN(len(services))
	switch random.IntN(3) {
	case 0:
		return append(services[:at:at], services[at+1:]...)
	case 1:
		services[at].Spec.IPFamilies = families[random.IntN(3)]
	case 2:
		services[at].Spec.Type = []corev1.ServiceType{corev1.ServiceTypeLoadBalancer, corev1.ServiceTypeClusterIP}[random.IntN(2)]
	}
	return services
}

func check(t *testing.T, services []*corev1.Service, before map[*corev1.Service]string) {
	t.Helper()
	holder := map[string]string{}
	for _, service := range services {
		now := ips(service.Status.LoadBalancer.Ingress)
		for _, ingress := range service.Status.LoadBalancer.Ingress {
			if other, held := holder[ingress.IP]; held {
				t.Fatalf("%s is held by %s and %s", ingress.IP, other, service.Name)
			}
			holder[ingress.IP] = service.Name
		}
		if wants(service) && len(service.Spec.IPFamilies) == 2 && strings.Count(before[service], " ") == 2 && now != before[service] {
			t.Fatalf("service %s had%s and now has%s", service.Name, before[service], now)
		}
	}
}

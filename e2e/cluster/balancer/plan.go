// Package balancer gives addresses to Services of type LoadBalancer in a test cluster.
//
// kube-proxy on every node already answers for an address in a Service's status, and the host has a route for the pool over a
// node; so all that is missing is writing the address. It must not move an address a Service has while the Service
// wants it. Services come in from the API server, their status goes out.
package balancer

import (
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// Change is one Service's status to be written.
type Change struct {
	Service *corev1.Service              // as it came in, not modified
	Ingress []corev1.LoadBalancerIngress // what its status shall hold; empty takes its addresses away
}

// Plan says what to write so that every Service that wants addresses has one of each of its families. Addresses already in a status
// stay; two Services claiming one (a restored backup) leave it to the older. A Service asks for a certain address with
// spec.loadBalancerIP, and gets another when that one is not in the pool or taken. Services with a class of their own
// belong to another controller and are left alone. An exhausted pool leaves the newest without.
func Plan(pool Pool, services []*corev1.Service) []Change {
	services = slices.Clone(services)
	slices.SortFunc(services, older)
	taken, kept := map[netip.Addr]bool{}, make([][]netip.Addr, len(services))
	for i, service := range services {
		kept[i] = keep(pool, service, taken)
	}
	var changes []Change
	for i, service := range services {
		if service.Spec.LoadBalancerClass != nil {
			continue
		}
		var addresses []netip.Addr
		if wants(service) {
			addresses = fill(pool, service, kept[i], taken)
		}
		if ingress := render(addresses); differs(service.Status.LoadBalancer.Ingress, ingress) {
			changes = append(changes, Change{Service: service, Ingress: ingress})
		}
	}
	return changes
}

func wants(service *corev1.Service) bool {
	return service.Spec.Type == corev1.ServiceTypeLoadBalancer && service.Spec.LoadBalancerClass == nil &&
		service.DeletionTimestamp == nil
}

// keep returns the addresses the service has and still wants, and marks them as taken.
func keep(pool Pool, service *corev1.Service, taken map[netip.Addr]bool) []netip.Addr {
	if !wants(service) {
		return nil
	}
	var kept []netip.Addr
	for _, ingress := range service.Status.LoadBalancer.Ingress {
		address, err := netip.ParseAddr(ingress.IP)
		if err != nil || taken[address] || !pool.Contains(address) || !families(service)[address.Is4()] {
			continue
		}
		taken[address] = true
		kept = append(kept, address)
	}
	return kept
}

// fill adds an address for each family the service lacks one of, in the order of its families.
func fill(pool Pool, service *corev1.Service, kept []netip.Addr, taken map[netip.Addr]bool) []netip.Addr {
	var addresses []netip.Addr
	for _, family := range service.Spec.IPFamilies {
		v4 := family == corev1.IPv4Protocol
		if i := slices.IndexFunc(kept, func(a netip.Addr) bool { return a.Is4() == v4 }); i >= 0 {
			addresses = append(addresses, kept[i])
			continue
		}
		address, found := pool.Next(v4, taken)
		asked, err := netip.ParseAddr(service.Spec.LoadBalancerIP)
		if err == nil && asked.Is4() == v4 && pool.Contains(asked) && !taken[asked] {
			address, found = asked, true
		}
		if found {
			taken[address] = true
			addresses = append(addresses, address)
		}
	}
	return addresses
}

func families(service *corev1.Service) map[bool]bool {
	is4 := map[bool]bool{}
	for _, family := range service.Spec.IPFamilies {
		is4[family == corev1.IPv4Protocol] = true
	}
	return is4
}

func render(addresses []netip.Addr) []corev1.LoadBalancerIngress {
	mode := corev1.LoadBalancerIPModeVIP
	var ingress []corev1.LoadBalancerIngress
	for _, address := range addresses {
		ingress = append(ingress, corev1.LoadBalancerIngress{IP: address.String(), IPMode: &mode})
	}
	return ingress
}

func differs(have, want []corev1.LoadBalancerIngress) bool {
	return !slices.EqualFunc(have, want, func(a, b corev1.LoadBalancerIngress) bool { return a.IP == b.IP })
}

// older orders by age, then by name so that the order never depends on who asks.
func older(a, b *corev1.Service) int {
	if c := a.CreationTimestamp.Compare(b.CreationTimestamp.Time); c != 0 {
		return c
	}
	return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name)
}

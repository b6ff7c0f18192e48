package scene

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ServicePort is the port of the Services made here, EndpointPort that of their endpoints.
const (
	ServicePort  = 80
	EndpointPort = 8080
)

// concurrency is how many objects are made at once.
const concurrency = 8

// Services makes n Services of HTTP, each with endpoints nobody answers at, in a namespace.
func (s *Scene) Services(ctx context.Context, namespace string, n, endpoints int) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(concurrency)
	for i := range n {
		group.Go(func() error {
			addresses := make([]string, endpoints)
			for k := range addresses {
				addresses[k] = Address(1<<16 + i*endpoints + k)
			}
			_, err := s.Service(ctx, namespace, fmt.Sprintf("service-%d", i), addresses...)
			return err
		})
	}
	return group.Wait()
}

// Service makes a Service without a selector and, of the same name, the EndpointSlice with
// its addresses, all of one IP family. It returns the Service.
func (s *Scene) Service(ctx context.Context, namespace, name string, addresses ...string) (*corev1.Service, error) {
	service, err := s.Client.CoreV1().Services(namespace).Create(ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "http", Port: ServicePort}}},
	}, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("make service %s/%s: %w", namespace, name, err)
	}
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: name}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: new("http"), Port: new(int32(EndpointPort))}},
	}
	for _, a := range addresses {
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{Addresses: []string{a}})
	}
	if _, err := s.Client.DiscoveryV1().EndpointSlices(namespace).Create(ctx, slice, metav1.CreateOptions{}); err != nil {
		return nil, fmt.Errorf("make endpoints of service %s/%s: %w", namespace, name, err)
	}
	return service, nil
}

// Address is the i-th address, i below 2^17, of the range that is set aside for benchmarks
// (RFC 2544): none of them is anybody's.
func Address(i int) string { return fmt.Sprintf("198.%d.%d.%d", 18+i>>16&1, i>>8&255, i&255) }

package scene

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"sync"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
)

// Forward listens on a loopback port that leads to a port of a pod, on the pod's own loopback
// too, as "kubectl port-forward" does. address is host:port; stop ends it and waits.
func (s *Scene) Forward(ctx context.Context, namespace, pod string, port uint16) (address string, stop func(), err error) {
	transport, upgrader, err := spdy.RoundTripperFor(s.rest)
	if err != nil {
		return "", nil, fmt.Errorf("forward port %d of pod %s/%s: %w", port, namespace, pod, err)
	}
	url := s.Client.CoreV1().RESTClient().Post().Resource("pods").Namespace(namespace).Name(pod).SubResource("portforward").URL()
	dialer := spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, url)
	end, ready := make(chan struct{}), make(chan struct{})
	var complaint bytes.Buffer
	forwarder, err := portforward.NewOnAddresses(dialer, []string{"127.0.0.1"}, []string{fmt.Sprintf("0:%d", port)}, end, ready, nil, &complaint)
	if err != nil {
		return "", nil, fmt.Errorf("forward port %d of pod %s/%s: %w", port, namespace, pod, err)
	}
	var group errgroup.Group
	failed := make(chan error, 1)
	group.Go(func() error {
		failed <- forwarder.ForwardPorts()
		return nil
	})
	stop = sync.OnceFunc(func() { close(end); _ = group.Wait() })
	select {
	case <-ready:
	case err := <-failed:
		stop()
		return "", nil, fmt.Errorf("forward port %d of pod %s/%s: %w %s", port, namespace, pod, err, complaint.String())
	case <-ctx.Done():
		stop()
		return "", nil, ctx.Err()
	}
	ports, err := forwarder.GetPorts()
	if err != nil {
		stop()
		return "", nil, fmt.Errorf("forward port %d of pod %s/%s: %w", port, namespace, pod, err)
	}
	return fmt.Sprintf("127.0.0.1:%d", ports[0].Local), stop, nil
}

package plugin

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/sluicemesh/sluice/initcontainer/cni/kube"
	"github.com/sluicemesh/sluice/initcontainer/cni/pod"
)

// How often the API server is asked for a pod, and how long it is waited in between. The
// runtime calls again when that was not enough.
const (
	tries     = 30
	triesWait = time.Second
)

// Fetch asks the API server for the pod of a sandbox, again and again where it does not
// answer or does not know the pod yet. The error is that of the last attempt.
func Fetch(ctx context.Context, c Conf, a Args) (*pod.Pod, error) {
	for try := 1; ; try++ {
		p, err := fetchOnce(ctx, c, a)
		if err == nil {
			return p, nil
		}
		if try == tries {
			return nil, fmt.Errorf("%w (asked %d times; whether the pod is one of the mesh is known there only: "+
				"is the API server up, and does the pod istio-cni-node of this node run?)", err, tries)
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(triesWait):
		}
	}
}

// fetchOnce reads the kubeconfig each time: its token is replaced from time to time.
func fetchOnce(ctx context.Context, c Conf, a Args) (*pod.Pod, error) {
	text, err := os.ReadFile(c.Kubernetes.Kubeconfig)
	if err != nil {
		return nil, err
	}
	access, err := kube.ParseKubeconfig(text)
	if err != nil {
		return nil, err
	}
	client, err := kube.New(access)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	p, err := client.Pod(ctx, a.Namespace, a.Name)
	if err != nil {
		return nil, err
	}
	// One of the same name may have come after it, with other annotations. Static pods have
	// another UID in the API.
	if a.UID != "" && a.UID != p.Metadata.UID && !p.Static() {
		return nil, fmt.Errorf("pod %s/%s is not %s any more: that was replaced", a.Namespace, a.Name, a.UID)
	}
	return p, nil
}

package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/sluicemesh/sluice/e2e/cluster/podnet"
)

const (
	healthTimeout = 5 * time.Second
	readyTimeout  = 3 * time.Minute
	readyPoll     = 100 * time.Millisecond

	comeBackTimeout = time.Minute // a node that was restarted takes half of it
)

func client(kubeconfig string) (kubernetes.Interface, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig: %w", err)
	}
	config.QPS = -1 // no throttle on our side: a few requests a second to a server of our own
	made, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make client: %w", err)
	}
	return made, nil
}

// healthy returns nil when the cluster has the given number of nodes and all are ready.
func healthy(ctx context.Context, kubeconfig string, count int) error {
	c, err := client(kubeconfig)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	return nodesReady(ctx, c, count)
}

func nodesReady(ctx context.Context, c kubernetes.Interface, count int) error {
	list, err := c.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list nodes: %w", err)
	}
	if len(list.Items) != count {
		return fmt.Errorf("%d nodes of %d", len(list.Items), count)
	}
	for i := range list.Items {
		if !nodeReady(&list.Items[i]) {
			return fmt.Errorf("node %s is not ready", list.Items[i].Name)
		}
	}
	return nil
}

func nodeReady(node *corev1.Node) bool {
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

// waitReady returns once all nodes are ready, DNS has an answering pod and pods have a service account to run as.
func waitReady(ctx context.Context, st state) error {
	c, err := client(st.Kubeconfig)
	if err != nil {
		return err
	}
	return poll(ctx, readyTimeout, func(ctx context.Context) error {
		if err := nodesReady(ctx, c, st.Nodes); err != nil {
			return err
		}
		dns, err := c.AppsV1().Deployments("kube-system").Get(ctx, "coredns", metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("look at DNS: %w", err)
		}
		if !available(dns) {
			return errors.New("DNS has no ready pod")
		}
		if _, err := c.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{}); err != nil {
			return fmt.Errorf("look at the default service account: %w", err)
		}
		return nil
	})
}

// dnsPatch makes one DNS server of two, which look whether they are ready every ten seconds: the first look comes before kube-proxy
// has made the API server reachable for them.
const dnsPatch = `{"spec": {"replicas": 1, "template": {"spec": {"containers": [
  {"name": "coredns", "readinessProbe": {"periodSeconds": 1}}]}}}}`

// tuneDNS makes DNS come up fast in a cluster that holds little. It is done before a node can run pods, so nothing is restarted.
func tuneDNS(ctx context.Context, st state) error {
	c, err := client(st.Kubeconfig)
	if err != nil {
		return err
	}
	_, err = c.AppsV1().Deployments("kube-system").Patch(
		ctx, "coredns", types.StrategicMergePatchType, []byte(dnsPatch), metav1.PatchOptions{})
	if err != nil {
		return fmt.Errorf("tune DNS: %w", err)
	}
	return nil
}

func available(deployment *appsv1.Deployment) bool { return deployment.Status.ReadyReplicas > 0 }

// waitPodRanges returns the cluster's nodes once each has its pod ranges.
func waitPodRanges(ctx context.Context, st state) ([]podnet.Node, error) {
	c, err := client(st.Kubeconfig)
	if err != nil {
		return nil, err
	}
	var described []podnet.Node
	err = poll(ctx, readyTimeout, func(ctx context.Context) error {
		list, err := c.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return fmt.Errorf("list nodes: %w", err)
		}
		if len(list.Items) != st.Nodes {
			return fmt.Errorf("%d nodes of %d", len(list.Items), st.Nodes)
		}
		described = described[:0]
		for i := range list.Items {
			node, err := describe(&list.Items[i])
			if err != nil {
				return err
			}
			if len(node.Pods) != len(st.cluster().Pods()) {
				return fmt.Errorf("node %s has %d pod ranges of %d", node.Name, len(node.Pods), len(st.cluster().Pods()))
			}
			described = append(described, node)
		}
		return nil
	})
	return described, err
}

// poll asks until the answer is nil; when time is up the last answer is the error.
func poll(ctx context.Context, timeout time.Duration, ask func(context.Context) error) error {
	var last error
	err := wait.PollUntilContextTimeout(ctx, readyPoll, timeout, true, func(ctx context.Context) (bool, error) {
		last = ask(ctx)
		return last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("%w; last: %w", err, last)
	}
	return nil
}

// cgroupV1 reports whether the host has the old control groups. A host without any (not Linux) runs containers in a virtual
// machine of its engine, which has the new ones.
func cgroupV1() bool {
	if _, err := os.Stat("/sys/fs/cgroup"); err != nil {
		return false
	}
	_, err := os.Stat("/sys/fs/cgroup/cgroup.controllers")
	return errors.Is(err, fs.ErrNotExist)
}

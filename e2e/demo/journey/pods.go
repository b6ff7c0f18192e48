package journey

import (
	"encoding/json"
	"fmt"
	"net/netip"
)

// Pod is what the demonstration needs to know of a pod.
type Pod struct {
	Namespace, Name string
	App             string // label app, else the pod's name
	Address         string // of its own network; empty for pods in the node's
	Proxy           string // image of its container istio-proxy; empty for a pod without
	Gateway         bool   // the proxy is the only container
}

// The container that is the proxy, wherever injection put it.
const proxyContainer = "istio-proxy"

// podList is the part of "kubectl get pods -o json" that is read.
type podList struct {
	Items []struct {
		Metadata struct {
			Namespace         string            `json:"namespace"`
			Name              string            `json:"name"`
			Labels            map[string]string `json:"labels"`
			DeletionTimestamp *string           `json:"deletionTimestamp"`
		} `json:"metadata"`
		Spec struct {
			HostNetwork    bool        `json:"hostNetwork"`
			Containers     []container `json:"containers"`
			InitContainers []container `json:"initContainers"`
		} `json:"spec"`
		Status struct {
			PodIP string `json:"podIP"`
			Phase string `json:"phase"`
		} `json:"status"`
	} `json:"items"`
}

type container struct {
	Name  string `json:"name"`
	Image string `json:"image"`
}

// ParsePods reads the answer of "kubectl get pods -o json". Pods that do not run or are
// being deleted are left out.
func ParsePods(text []byte) ([]Pod, error) {
	var list podList
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, fmt.Errorf("list of pods: %w", err)
	}
	var pods []Pod
	for _, item := range list.Items {
		if item.Status.Phase != "Running" || item.Metadata.DeletionTimestamp != nil {
			continue
		}
		p := Pod{Namespace: item.Metadata.Namespace, Name: item.Metadata.Name, App: item.Metadata.Labels["app"]}
		if p.App == "" {
			p.App = p.Name
		}
		if !item.Spec.HostNetwork {
			p.Address = item.Status.PodIP
		}
		for _, group := range [][]container{item.Spec.InitContainers, item.Spec.Containers} {
			for _, c := range group {
				if c.Name == proxyContainer {
					p.Proxy = c.Image
				}
			}
		}
		p.Gateway = p.Proxy != "" && len(item.Spec.Containers) == 1 && item.Spec.Containers[0].Name == proxyContainer
		pods = append(pods, p)
	}
	return pods, nil
}

// at returns the pod with the address of an upstream host, "10.244.0.12:8080".
func at(pods []Pod, host string) (Pod, bool) {
	addr, err := netip.ParseAddrPort(host)
	if err != nil {
		return Pod{}, false
	}
	for _, p := range pods {
		if p.Address != "" && p.Address == addr.Addr().Unmap().String() {
			return p, true
		}
	}
	return Pod{}, false
}

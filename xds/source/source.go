// Package source reads the cluster: one informer a kind, through controller-runtime's
// cache, into a queue of edits that the compiler's loop drains.
//
// It converts nothing and decides nothing. It drops events that change nothing (resyncs)
// and keeps only the last edit of an object while the loop is busy, so a burst costs what
// its result costs.
package source

import (
	"context"
	"fmt"
	"reflect"
	"unique"

	corev1 "k8s.io/api/core/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluicemesh/sluice/internal/meta"
)

// Edit is one object as it is now, or the fact that it is gone.
type Edit struct {
	// Object is the object, or the last known state of a deleted one. It is shared with
	// the cache and must not be modified.
	Object  client.Object
	Deleted bool
}

// Watch starts an informer for each prototype and puts every change into sink. It returns
// at once; the returned function reports whether everything that existed at the start has
// been put. Errors come from kinds that the cache cannot watch.
func Watch(ctx context.Context, c cache.Cache, prototypes []client.Object, sink func(Edit)) (synced func() bool, err error) {
	var registrations []toolscache.ResourceEventHandlerRegistration
	for _, p := range prototypes {
		informer, err := c.GetInformer(ctx, p, cache.BlockUntilSynced(false))
		if err != nil {
			return nil, fmt.Errorf("watch %T: %w", p, err)
		}
		r, err := informer.AddEventHandler(handler(sink))
		if err != nil {
			return nil, fmt.Errorf("watch %T: %w", p, err)
		}
		registrations = append(registrations, r)
	}
	return func() bool {
		for _, r := range registrations {
			if !r.HasSynced() {
				return false
			}
		}
		return true
	}, nil
}

// handler turns informer events into edits.
func handler(sink func(Edit)) toolscache.ResourceEventHandler {
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc: func(o any) { sink(Edit{Object: o.(client.Object)}) },
		UpdateFunc: func(before, after any) {
			old, now := before.(client.Object), after.(client.Object)
			if old.GetResourceVersion() != now.GetResourceVersion() {
				sink(Edit{Object: now})
			}
		},
		DeleteFunc: func(o any) {
			if gone, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
				o = gone.Obj
			}
			sink(Edit{Object: o.(client.Object), Deleted: true})
		},
	}
}

// CacheOptions says what the manager's cache keeps of each kind: managed fields are never
// read, and of pods and nodes, the two kinds there are most of, only what the mesh needs.
// systemNamespace is the control plane's own; elsewhere only the ConfigMaps that rootMaps
// selects are watched. others are what further users of the cache ask for; kinds named
// here already stay as they are here, which is what all users need together.
func CacheOptions(systemNamespace string, rootMaps cache.Config, others map[client.Object]cache.ByObject) cache.Options {
	kinds := map[client.Object]cache.ByObject{
		&corev1.Pod{}:  {Transform: trimPod},
		&corev1.Node{}: {Transform: trimNode},
		&corev1.ConfigMap{}: {Namespaces: map[string]cache.Config{
			systemNamespace:     {},
			cache.AllNamespaces: rootMaps,
		}},
	}
	ours := map[reflect.Type]bool{}
	for o := range kinds {
		ours[reflect.TypeOf(o)] = true
	}
	for o, by := range others {
		if !ours[reflect.TypeOf(o)] {
			kinds[o] = by
		}
	}
	return cache.Options{DefaultTransform: cache.TransformStripManagedFields(), ByObject: kinds}
}

// trimPod keeps metadata, identity, container ports and addresses, and the proxy's image,
// by which the webhook's auditor tells what is outdated.
func trimPod(o any) (any, error) {
	pod, ok := o.(*corev1.Pod)
	if !ok {
		return o, nil
	}
	out := &corev1.Pod{TypeMeta: pod.TypeMeta, ObjectMeta: pod.ObjectMeta}
	out.ManagedFields = nil
	out.Spec.NodeName = pod.Spec.NodeName
	out.Spec.ServiceAccountName = pod.Spec.ServiceAccountName
	out.Spec.HostNetwork = pod.Spec.HostNetwork
	for _, c := range pod.Spec.InitContainers {
		if c.RestartPolicy != nil {
			out.Spec.InitContainers = append(out.Spec.InitContainers, corev1.Container{Name: c.Name, Image: proxyImage(&c), Ports: c.Ports, RestartPolicy: c.RestartPolicy})
		}
	}
	for _, c := range pod.Spec.Containers {
		out.Spec.Containers = append(out.Spec.Containers, corev1.Container{Name: c.Name, Image: proxyImage(&c), Ports: c.Ports})
	}
	out.Status.Phase = pod.Status.Phase
	out.Status.PodIP = pod.Status.PodIP
	out.Status.PodIPs = pod.Status.PodIPs
	out.Status.HostIP = pod.Status.HostIP
	return out, nil
}

// proxyImage returns a proxy's image, and nothing for other containers. Pods share a few
// images, so each is held once.
func proxyImage(c *corev1.Container) string {
	if c.Name != meta.ProxyContainer {
		return ""
	}
	return unique.Make(c.Image).Value()
}

// trimNode keeps metadata and the kubelet's version, which the injector asks for.
func trimNode(o any) (any, error) {
	node, ok := o.(*corev1.Node)
	if !ok {
		return o, nil
	}
	out := &corev1.Node{TypeMeta: node.TypeMeta, ObjectMeta: node.ObjectMeta}
	out.ManagedFields = nil
	out.Annotations = nil
	out.Status.NodeInfo.KubeletVersion = node.Status.NodeInfo.KubeletVersion
	out.Status.Addresses = node.Status.Addresses
	return out, nil
}

// Package workload knows the kinds of objects that make pods: how users call them, where
// their pod template is, and what the API server would make of it.
//
// It works on objects as trees of maps, lists and scalars, so that nothing a user wrote is
// lost. The package is pure: files and clusters are read by others.
package workload

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utiljson "k8s.io/apimachinery/pkg/util/json"
)

// Kind is one kind of object that makes pods.
type Kind struct {
	// GVK is the version that clusters are asked for; files may have any version of the group.
	GVK schema.GroupVersionKind
	// Names are what users may write for it in KIND/NAME, in lower case.
	Names []string
	// Template is the path of the pod template; empty for a pod.
	Template []string
	// owner is the API version that pods of the kind are injected with, as the injector
	// derives it from what a pod says of its owner; empty for that of the object.
	owner string
}

// Kinds lists all of them.
func Kinds() []Kind {
	template := []string{"spec", "template"}
	kind := func(group, version, name string, names ...string) Kind {
		lower := strings.ToLower(name)
		return Kind{
			GVK:   schema.GroupVersionKind{Group: group, Version: version, Kind: name},
			Names: append([]string{lower, lower + "s"}, names...), Template: template,
		}
	}
	pod := kind("", "v1", "Pod", "po")
	pod.Template = nil
	cron := kind("batch", "v1", "CronJob", "cj")
	cron.Template = []string{"spec", "jobTemplate", "spec", "template"}
	config := kind("apps.openshift.io", "v1", "DeploymentConfig", "dc")
	config.owner = "v1"
	rollout := kind("argoproj.io", "v1alpha1", "Rollout", "ro")
	rollout.owner = "v1alpha1"
	return []Kind{
		pod,
		kind("apps", "v1", "Deployment", "deploy"),
		kind("apps", "v1", "DaemonSet", "ds"),
		kind("apps", "v1", "ReplicaSet", "rs"),
		kind("apps", "v1", "StatefulSet", "sts"),
		kind("batch", "v1", "Job"),
		cron,
		kind("", "v1", "ReplicationController", "rc"),
		config,
		rollout,
	}
}

// Of returns the kind of an object; false when it makes no pods.
func Of(object map[string]any) (Kind, bool) {
	apiVersion, _ := object["apiVersion"].(string)
	name, _ := object["kind"].(string)
	gv, err := schema.ParseGroupVersion(apiVersion)
	if err != nil || gv.Empty() {
		return Kind{}, false
	}
	for _, k := range Kinds() {
		if k.GVK.Group == gv.Group && k.GVK.Kind == name {
			return k, true
		}
	}
	return Kind{}, false
}

// Named returns the kind that a user calls name.
func Named(name string) (Kind, error) {
	for _, k := range Kinds() {
		if slices.Contains(k.Names, strings.ToLower(name)) {
			return k, nil
		}
	}
	var known []string
	for _, k := range Kinds() {
		known = append(known, k.Names[0])
	}
	return Kind{}, fmt.Errorf("%q makes no pods; write one of %s", name, strings.Join(known, ", "))
}

// Ref is an object as a user names it.
type Ref struct {
	Kind Kind
	Name string
	// Namespace is empty unless the name had one, NAME.NAMESPACE.
	Namespace string
}

// ParseRef reads POD, KIND/NAME, or KIND and NAME; any name may be NAME.NAMESPACE.
func ParseRef(words []string) (Ref, error) {
	kind, name := "pod", words[0]
	switch {
	case len(words) == 2:
		kind, name = words[0], words[1]
	case strings.Contains(name, "/"):
		kind, name, _ = strings.Cut(name, "/")
	}
	k, err := Named(kind)
	if err != nil {
		return Ref{}, err
	}
	name, namespace, _ := strings.Cut(name, ".")
	if name == "" || strings.Contains(name+namespace, "/") {
		return Ref{}, fmt.Errorf("%q names no object; write POD, KIND/NAME or KIND NAME", strings.Join(words, " "))
	}
	return Ref{Kind: k, Name: name, Namespace: namespace}, nil
}

// Pod returns the pod that the object makes, typed; false when it has no template, as a
// Rollout that refers to a Deployment. What of a running pod only its status and its API
// server know is left out.
//
// The pod names its workload as owner and is nameless, unless the object is itself a pod:
// the injector then finds the same workload as in the pods that the object's controller
// makes. The namespace is the object's, which may be empty.
func (k Kind) Pod(object map[string]any) (*corev1.Pod, bool, error) {
	template, ok := k.template(object)
	if !ok {
		return nil, false, nil
	}
	pod := &corev1.Pod{}
	data, err := json.Marshal(template)
	if err == nil {
		err = utiljson.Unmarshal(data, pod) // its errors name the field
	}
	if err != nil {
		return nil, false, fmt.Errorf("read the pod template of %s: %w", Title(object), err)
	}
	if len(k.Template) > 0 {
		k.own(pod, object)
	}
	return pod, true, nil
}

// template is the subtree that has metadata and spec of a pod.
func (k Kind) template(object map[string]any) (map[string]any, bool) {
	tree := object
	for _, key := range k.Template {
		next, ok := tree[key].(map[string]any)
		if !ok {
			return nil, false
		}
		tree = next
	}
	out := map[string]any{}
	for _, key := range []string{"metadata", "spec"} {
		if v, ok := tree[key]; ok {
			out[key] = v
		}
	}
	return out, true
}

// own gives the pod of a template the metadata that a controller would give it.
func (k Kind) own(pod *corev1.Pod, object map[string]any) {
	name, namespace := Name(object)
	apiVersion, _ := object["apiVersion"].(string)
	if k.owner != "" {
		apiVersion = k.owner
	}
	yes := true
	pod.Name, pod.Namespace, pod.GenerateName = "", namespace, name+"-"
	pod.OwnerReferences = []metav1.OwnerReference{{APIVersion: apiVersion, Kind: k.GVK.Kind, Name: name, Controller: &yes}}
}

// Name returns name and namespace of an object; a name to be generated without its dash.
func Name(object map[string]any) (name, namespace string) {
	meta, _ := object["metadata"].(map[string]any)
	name, _ = meta["name"].(string)
	namespace, _ = meta["namespace"].(string)
	if name == "" {
		generate, _ := meta["generateName"].(string)
		name = strings.TrimSuffix(generate, "-")
	}
	return name, namespace
}

// Title is how messages call an object: "Deployment default/web".
func Title(object map[string]any) string {
	kind, _ := object["kind"].(string)
	name, namespace := Name(object)
	if namespace != "" {
		name = namespace + "/" + name
	}
	return strings.TrimSpace(kind + " " + name)
}

// Package pod decides what the network plug-in does with a pod: nothing, or which traffic it
// captures.
//
// It holds the few fields of a pod that matter, in the JSON of the Kubernetes API, so that
// the plug-in links no Kubernetes client: it runs once for every pod of a node. The package
// is pure: a pod comes in, a decision or the user's mistakes go out.
package pod

import (
	"slices"
	"strconv"

	"github.com/sluicemesh/sluice/internal/meta"
)

// Pod is what matters of a pod of the Kubernetes API.
type Pod struct {
	Metadata Metadata `json:"metadata"`
	Spec     Spec     `json:"spec"`
	Status   Status   `json:"status"`
}

// Metadata are the names of a pod and what users attach to it.
type Metadata struct {
	Name              string            `json:"name"`
	Namespace         string            `json:"namespace"`
	UID               string            `json:"uid"`
	ResourceVersion   string            `json:"resourceVersion"`
	DeletionTimestamp string            `json:"deletionTimestamp,omitempty"` // empty while it is to run
	Labels            map[string]string `json:"labels,omitempty"`
	Annotations       map[string]string `json:"annotations,omitempty"`
}

// Spec is what was asked for.
type Spec struct {
	NodeName        string      `json:"nodeName,omitempty"`
	HostNetwork     bool        `json:"hostNetwork,omitempty"`
	InitContainers  []Container `json:"initContainers,omitempty"`
	Containers      []Container `json:"containers"`
	SecurityContext *Security   `json:"securityContext,omitempty"`
}

// Container is one container of either list.
type Container struct {
	Name            string    `json:"name"`
	Args            []string  `json:"args,omitempty"`
	Env             []EnvVar  `json:"env,omitempty"`
	SecurityContext *Security `json:"securityContext,omitempty"`
}

// EnvVar is a variable. Value is empty for one whose value comes from elsewhere.
type EnvVar struct {
	Name  string `json:"name"`
	Value string `json:"value,omitempty"`
}

// Security is who a pod or a container runs as; nil is left to others.
type Security struct {
	RunAsUser  *int64 `json:"runAsUser,omitempty"`
	RunAsGroup *int64 `json:"runAsGroup,omitempty"`
}

// Status is what became of it.
type Status struct {
	Phase                 string            `json:"phase,omitempty"`
	PodIP                 string            `json:"podIP,omitempty"` // empty while it has none
	InitContainerStatuses []ContainerStatus `json:"initContainerStatuses,omitempty"`
}

// ContainerStatus is what became of one container.
type ContainerStatus struct {
	Name         string `json:"name"`
	RestartCount int    `json:"restartCount"`
	State        State  `json:"state"`
	LastState    State  `json:"lastState"`
}

// State is one state of a container; Terminated is nil in every other one.
type State struct {
	Terminated *Terminated `json:"terminated,omitempty"`
}

// Terminated is how a container ended.
type Terminated struct {
	ExitCode int `json:"exitCode"`
}

// Injected reports whether annotations are those of a pod that an injector completed.
func Injected(annotations map[string]string) bool {
	_, ok := annotations[meta.Status]
	return ok
}

// Static reports whether p is the API's image of a static pod. The kubelet runs such a pod
// as its file has it, whatever an injector made of the image.
func (p *Pod) Static() bool { return p.Metadata.Annotations["kubernetes.io/config.mirror"] != "" }

// Failed returns how often the named init container has been started again, and whether it
// ended with the exit code the last time, and has not succeeded since.
func (p *Pod) Failed(initContainer string, code int) (restarts int, failed bool) {
	for _, s := range p.Status.InitContainerStatuses {
		if s.Name != initContainer {
			continue
		}
		ended := s.State.Terminated
		if ended == nil {
			ended = s.LastState.Terminated
		}
		return s.RestartCount, ended != nil && ended.ExitCode == code
	}
	return 0, false
}

// container finds a container by its name in either list, nil if there is none.
func (p *Pod) container(name string) *Container {
	for _, list := range [][]Container{p.Spec.InitContainers, p.Spec.Containers} {
		if i := slices.IndexFunc(list, func(c Container) bool { return c.Name == name }); i >= 0 {
			return &list[i]
		}
	}
	return nil
}

// value is a variable of a container; of two of the same name the last counts, as in the
// kubelet.
func (c *Container) value(name string) string {
	for _, v := range slices.Backward(c.Env) {
		if v.Name == name {
			return v.Value
		}
	}
	return ""
}

// runsAs returns user and group of a container. What nobody says is the image's: the user
// of proxies, and the group of the same number.
func (p *Pod) runsAs(c *Container, otherwise int64) (uid, gid int64) {
	var user, group *int64
	for _, s := range []*Security{p.Spec.SecurityContext, c.SecurityContext} {
		if s != nil && s.RunAsUser != nil {
			user = s.RunAsUser
		}
		if s != nil && s.RunAsGroup != nil {
			group = s.RunAsGroup
		}
	}
	uid = otherwise
	if user != nil {
		uid = *user
	}
	gid = uid
	if group != nil {
		gid = *group
	}
	return uid, gid
}

// falsy reports a word that Go reads as false.
func falsy(word string) bool {
	v, err := strconv.ParseBool(word)
	return err == nil && !v
}

package params

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"

	corev1 "k8s.io/api/core/v1"

	"github.com/sluicemesh/sluice/internal/problem"
)

// Reasons of problems; stable, used as metric labels.
const (
	InvalidAnnotation   = "InvalidAnnotation"   // a value that cannot be read
	UnsupportedSetting  = "UnsupportedSetting"  // a setting of Istio's that Sluice does not have
	UnknownAnnotation   = "UnknownAnnotation"   // nobody knows it
	UnknownLabel        = "UnknownLabel"        // nobody knows it
	UnknownField        = "UnknownField"        // of a ProxyConfig; left out
	InvalidProxyConfig  = "InvalidProxyConfig"  // an object that no agent could run with
	NoEffect            = "NoEffect"            // accepted, but does nothing here
	ReservedMetricsPort = "ReservedMetricsPort" // the application's metrics are on a port of the proxy's
	UnsafeIdentity      = "UnsafeIdentity"      // the proxy's own traffic cannot be told apart
	SharedIdentity      = "SharedIdentity"      // a container of the application passes for the proxy
	ClusterDNS          = "ClusterDNS"          // the pod does not ask the cluster's name server
)

// reader reads the annotations of one pod and collects what is wrong with them.
type reader struct {
	Input
	origin   problem.Origin
	status   uint16 // the agent's port, once it is resolved
	override string // see Mesh.ProxyConfigOverride
	problems []problem.Problem
}

func newReader(in Input) *reader {
	return &reader{Input: in, origin: Origin(in.Pod, in.Namespace)}
}

// Origin names the pod in problems; a pod without a name yet is named by its generateName.
func Origin(pod *corev1.Pod, namespace string) problem.Origin {
	name := pod.Name
	if name == "" {
		name = pod.GenerateName + "*"
	}
	return problem.Origin{Kind: "Pod", Namespace: firstNonEmpty(pod.Namespace, namespace), Name: name}
}

// get returns an annotation; ok is false where it is absent.
func (r *reader) get(key string) (value string, ok bool) {
	value, ok = r.Pod.Annotations[key]
	return value, ok
}

// or returns an annotation that is present and not empty, else the default.
func (r *reader) or(key, def string) string {
	if v := r.Pod.Annotations[key]; v != "" {
		return v
	}
	return def
}

func (r *reader) report(path, reason string, fatal bool, message string) {
	r.problems = append(r.problems, problem.Problem{
		Origin: r.origin, Path: path, Reason: reason, Message: message, Fatal: fatal,
	})
}

// bad reports an annotation that refuses the pod.
func (r *reader) bad(key, format string, args ...any) {
	// The protobuf library puts a no-break space into some messages, in some builds.
	message := strings.ReplaceAll(fmt.Sprintf(format, args...), "\u00a0", " ")
	r.report(annotation(key), InvalidAnnotation, true, message)
}

// warn reports an annotation that does nothing.
func (r *reader) warn(key, reason, format string, args ...any) {
	r.report(annotation(key), reason, false, fmt.Sprintf(format, args...))
}

func annotation(key string) string { return "metadata.annotations[" + key + "]" }

// count reads a number of seconds or of times.
func (r *reader) count(key string, def int32) int32 {
	v, ok := r.get(key)
	if !ok {
		return def
	}
	n, err := strconv.ParseUint(v, 10, 31)
	if err != nil {
		r.bad(key, "%q is not a number from 0 to %d", v, math.MaxInt32)
		return def
	}
	return int32(n)
}

// quantity reads a resource quantity into list; it reports whether the annotation is present.
func (r *reader) quantity(key string, name corev1.ResourceName, list *corev1.ResourceList) bool {
	v, ok := r.get(key)
	if !ok {
		return false
	}
	q, err := resource.ParseQuantity(v)
	if err != nil || q.Sign() < 0 {
		r.bad(key, "%q is not a quantity, write a number with a unit such as 100m or 128Mi", v)
		return true
	}
	if *list == nil {
		*list = corev1.ResourceList{}
	}
	(*list)[name] = q
	return true
}

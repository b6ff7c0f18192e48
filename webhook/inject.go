package webhook

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/sluicemesh/sluice/internal/meta"
	"github.com/sluicemesh/sluice/internal/problem"
	"github.com/sluicemesh/sluice/webhook/params"
	"github.com/sluicemesh/sluice/webhook/policy"
	"github.com/sluicemesh/sluice/webhook/render"
)

// Request is one pod to inject.
type Request struct {
	// Pod is the pod as it was received; it is not modified.
	Pod *corev1.Pod
	// Namespace is where the pod will live when it does not say; empty where unknown.
	Namespace string
	// NamespaceAnnotations are those of the pod's namespace. They are read on OpenShift
	// alone (Config.Platform) and nil elsewhere.
	NamespaceAnnotations map[string]string
	// Native says that the pod's nodes can run native sidecars.
	Native bool
	// Path holds the settings of the request's path.
	Path params.Path
}

// Result is what became of a Request.
type Result struct {
	Decision policy.Decision
	// Pod is the injected pod, a new value that shares memory with the request's; nil when
	// the decision was no, or when a problem is fatal.
	Pod *corev1.Pod
	// Composed says that text templates had a say: any field of the pod may differ.
	Composed bool
	// Problems lists everything wrong with the pod's settings; with a fatal one the pod must
	// be refused, the others are for the user to read.
	Problems []problem.Problem
}

// Inject is the whole injection: decide, resolve, render. It is pure, and what the webhook
// and the command line have in common. Injecting the result again changes nothing.
func Inject(s *Settings, r Request) Result {
	out := Result{Decision: policy.Decide(r.Pod, r.Namespace, s.Rules)}
	out.Problems = choiceProblems(s, r, out.Decision)
	if !out.Decision.Inject {
		return out
	}
	pod, problems := render.Strip(r.Pod)
	out.Problems = append(out.Problems, problems...)
	if problem.AnyFatal(out.Problems) {
		return out
	}
	in := r.input(s, pod)
	p, problems := params.Resolve(in)
	out.Problems = append(out.Problems, problems...)
	if problem.AnyFatal(out.Problems) {
		return out
	}
	if len(p.Templates) == 0 {
		out.Pod, problems = render.Pod(pod, p)
	} else {
		out.Composed = true
		out.Pod, problems = s.compose(in, p)
		problems = newOnes(problems, out.Problems)
	}
	out.Problems = append(out.Problems, problems...)
	return out
}

// newOnes drops the problems that are known already.
func newOnes(problems, known []problem.Problem) []problem.Problem {
	return slices.DeleteFunc(problems, func(p problem.Problem) bool { return slices.Contains(known, p) })
}

// input is what the request and the settings say about pod, the request's or a form of it.
func (r Request) input(s *Settings, pod *corev1.Pod) params.Input {
	return params.Input{
		Pod: pod, Namespace: r.Namespace, NamespaceAnnotations: r.NamespaceAnnotations, Catalog: s.templates.catalog,
		Defaults: s.Defaults, ProxyConfigs: s.ProxyConfigs, Native: r.Native, Path: r.Path,
		Earlier: render.Injected(r.Pod),
	}
}

// InvalidChoice is the reason of the warning about a pod's own choice that is neither true
// nor false.
const InvalidChoice = "InvalidChoice"

// choiceProblems tells the user when the pod's own wish has another effect than it seems,
// and why a pod is left alone that did not ask for that itself.
func choiceProblems(s *Settings, r Request, d policy.Decision) []problem.Problem {
	var out []problem.Problem
	if d.Invalid != "" {
		path := "metadata.annotations[" + meta.Inject + "]"
		if _, ok := r.Pod.Labels[meta.Inject]; ok {
			path = "metadata.labels[" + meta.Inject + "]"
		}
		out = append(out, problem.Problem{
			Origin: params.Origin(r.Pod, r.Namespace), Path: path, Reason: InvalidChoice,
			Message: `"` + d.Invalid + `" is neither true nor false, the default holds`,
		})
	}
	if !d.Inject && d.Reason != policy.PodOptedOut {
		why := policy.Why(r.Pod, r.Namespace, s.Rules)
		out = append(out, problem.Problem{
			Origin: params.Origin(r.Pod, r.Namespace), Reason: string(why.Reason),
			Message: "not injected: " + why.Found + "; " + why.Remedy,
		})
	}
	return out
}

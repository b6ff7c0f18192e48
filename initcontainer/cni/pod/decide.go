package pod

import (
	"errors"
	"slices"

	"github.com/sluicemesh/sluice/internal/capture"
	"github.com/sluicemesh/sluice/internal/meta"
	"github.com/sluicemesh/sluice/internal/ports"
	"github.com/sluicemesh/sluice/internal/problem"
)

// Reasons of problems.
const (
	InvalidAnnotation = "InvalidAnnotation" // a value that cannot be read
	InvalidSetting    = "InvalidSetting"    // a variable or argument of the proxy's that says no rules
	UnsafeIdentity    = "UnsafeIdentity"    // the proxy's own traffic cannot be told apart
)

// Decision is what is done with a pod.
type Decision struct {
	// Skip says why the pod is left alone; empty if its traffic is captured.
	Skip string
	// Capture is what is captured, valid where Skip is empty; with Skip only its Mode is set,
	// where that is the reason.
	Capture capture.Config
	// Notes are what the user set to no effect, one sentence each.
	Notes []string
}

// Decide says what to do with a pod. Where it returns problems the pod must not start: what
// it asks for cannot be captured.
//
// What is captured is read from the annotations, which the injector writes in full. Below
// them lies what istio-validation was told, as it checks for just that, and the proxy's
// environment; below that, the defaults of a pod without any annotation.
func Decide(p *Pod) (Decision, []problem.Problem) {
	proxy := p.container(meta.ProxyContainer)
	if why := p.skip(proxy); why != "" {
		return Decision{Skip: why}, nil
	}
	r := reader{pod: p, origin: problem.Origin{Kind: "Pod", Namespace: p.Metadata.Namespace, Name: p.Metadata.Name}}
	d := r.decide(proxy)
	if len(r.problems) > 0 {
		return Decision{}, r.problems
	}
	return d, nil
}

// skip says why a pod is left alone, "" if it is not. The order is Istio's.
func (p *Pod) skip(proxy *Container) string {
	switch {
	case p.Spec.HostNetwork:
		return "it shares the node's network"
	case p.Static():
		return "it is a static pod, which runs as its file has it"
	case p.container(meta.InitContainer) != nil:
		return "its init container " + meta.InitContainer + " writes the rules"
	case proxy == nil:
		return "it has no container " + meta.ProxyContainer
	case proxy.value("DISABLE_ENVOY") == "true":
		return "its agent runs without Envoy"
	case len(proxy.Args) < 2 || proxy.Args[1] != "sidecar":
		return "its proxy is not a sidecar"
	case p.optedOut():
		return meta.Inject + " says no"
	case !Injected(p.Metadata.Annotations):
		return "it is not injected: it has no annotation " + meta.Status
	}
	return ""
}

// optedOut reports whether label or, where there is none, annotation say no to injection.
func (p *Pod) optedOut() bool {
	word, ok := p.Metadata.Labels[meta.Inject]
	if !ok {
		word = p.Metadata.Annotations[meta.Inject]
	}
	return falsy(word)
}

// reader reads one pod and collects what is wrong with it.
type reader struct {
	pod      *Pod
	origin   problem.Origin
	problems []problem.Problem
}

func (r *reader) report(path, reason string, err error) {
	r.problems = append(r.problems, problem.Problem{
		Origin: r.origin, Path: path, Reason: reason, Message: err.Error(), Fatal: true,
	})
}

func (r *reader) get(key string) (string, bool) {
	v, ok := r.pod.Metadata.Annotations[key]
	return v, ok
}

func annotation(key string) string { return "metadata.annotations[" + key + "]" }

func (r *reader) decide(proxy *Container) Decision {
	base, options, err := capture.Parse(r.arguments(), proxy.value)
	if err != nil {
		for _, mistake := range each(err) {
			r.report("istio-proxy and istio-validation", InvalidSetting, mistake)
		}
		return Decision{}
	}
	c, mistakes := base.Annotated(r.get)
	for _, m := range mistakes {
		for _, mistake := range each(m.Err) {
			r.report(annotation(m.Key), InvalidAnnotation, mistake)
		}
	}
	c.Mode = r.mode(base.Mode)
	if c.Mode == capture.None {
		return Decision{Skip: "its interception mode is NONE", Capture: capture.Config{Mode: capture.None}}
	}
	c.InboundExcludePorts = r.inboundExcluded(base, c)
	uid, gid := r.pod.runsAs(proxy, int64(capture.DefaultProxyID))
	if c.ProxyUIDs, c.ProxyGIDs, err = capture.Owners(uid, gid); err != nil {
		r.report("istio-proxy.securityContext", UnsafeIdentity, err)
	}
	// The plug-in comes before the pod's resolv.conf does.
	c.CaptureAllDNS = c.RedirectDNS
	return Decision{Capture: c, Notes: options.Notes}
}

// arguments are those of the container that will check the rules; where there is none, as
// good as none: all of the pod's TCP.
func (r *reader) arguments() []string {
	if v := r.pod.container(meta.ValidationContainer); v != nil && len(v.Args) > 0 {
		return v.Args
	}
	c := capture.Default()
	return c.Args()
}

func (r *reader) mode(otherwise capture.Mode) capture.Mode {
	text, ok := r.get(meta.InterceptionMode)
	if !ok {
		return otherwise
	}
	m, err := capture.ParseMode(text)
	if err != nil {
		r.report(annotation(meta.InterceptionMode), InvalidAnnotation, err)
	}
	return m
}

// inboundExcluded adds the ports of the proxy's own to those of the user.
func (r *reader) inboundExcluded(base, c capture.Config) []uint16 {
	own := append(ports.InboundExcluded(), ports.AgentStatus)
	// Where the agent has another port, istio-validation was told.
	if r.pod.container(meta.ValidationContainer) != nil {
		own = append(own, base.InboundExcludePorts...)
	}
	var all []uint16
	for _, p := range append(own, c.InboundExcludePorts...) {
		if !slices.Contains(all, p) {
			all = append(all, p)
		}
	}
	return all
}

// each lists the errors that err joins, or err itself.
func each(err error) []error {
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) {
		return joined.Unwrap()
	}
	return []error{err}
}

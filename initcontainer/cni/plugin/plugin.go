// Package plugin is the network plug-in that the container runtime calls for each pod: it
// writes the interception rules into the pod's network namespace before any container
// starts, so that no container needs the right to.
//
// It is chained behind the plug-ins of the cluster's network and hands on their result
// unchanged. What it is told comes in as a network configuration; what it needs to know of
// the pod it asks the API server. It fails closed: a pod of the mesh whose traffic cannot be
// captured as asked does not start. Other pods are none of its business.
package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"strings"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/version"
	"github.com/vishvananda/netns"
	"golang.org/x/sync/errgroup"

	"github.com/sluicemesh/sluice/internal/capture"
	"github.com/sluicemesh/sluice/internal/problem"

	"github.com/sluicemesh/sluice/initcontainer"
	"github.com/sluicemesh/sluice/initcontainer/cni/pod"
)

// errorCode is that of all errors of this plug-in; the specification leaves those above 100
// to plug-ins.
const errorCode = 107

// About is what the program says that is started without a command.
const About = "The network plug-in of the Sluice mesh, chained behind those of the cluster's network. " +
	"The container runtime starts it; \"sluice-cni install\" installs it on a node."

// Plugin is the plug-in. All fields must be set.
type Plugin struct {
	// Context ends what is waited for.
	Context context.Context //nolint:containedctx // the CNI library calls functions without one
	// Fetch returns the pod of a sandbox.
	Fetch func(ctx context.Context, c Conf, a Args) (*pod.Pod, error)
}

// Versions are those of the protocol that are spoken.
func Versions() version.PluginInfo { return version.VersionsStartingFrom("0.3.1") }

// Funcs are the commands.
func (p Plugin) Funcs() skel.CNIFuncs {
	nothing := func(*skel.CmdArgs) error { return nil }
	return skel.CNIFuncs{
		Add:   p.add,
		Check: p.check,
		// The rules go with the namespace. What has gone wrong must not keep a pod from ending.
		Del: nothing,
		GC:  nothing,
		// Without the API server only pods of the mesh cannot start. A plug-in that says it is
		// not ready takes the whole node out of service.
		Status: nothing,
	}
}

// add writes the rules of a pod.
func (p Plugin) add(a *skel.CmdArgs) error {
	conf, result, err := decode(a.StdinData)
	if err != nil {
		return fail(err)
	}
	if err := p.capture(conf, a, conf.Intercept); err != nil {
		return fail(err)
	}
	return types.PrintResult(result, conf.CNIVersion)
}

// check proves that the rules of a pod are in force.
func (p Plugin) check(a *skel.CmdArgs) error {
	conf, _, err := decode(a.StdinData)
	if err != nil {
		return fail(err)
	}
	return fail(p.capture(conf, a, conf.Verify))
}

// deed is Settings.Intercept or Settings.Verify.
type deed func(context.Context, pod.Decision, *slog.Logger) error

// capture does what is to be done with a sandbox.
func (p Plugin) capture(conf Conf, a *skel.CmdArgs, do deed) error {
	log, closeLog := logger(conf)
	defer closeLog()
	args := parseArgs(a.Args)
	log = log.With("command", os.Getenv("CNI_COMMAND"), "pod", args.Namespace+"/"+args.Name)
	d, err := p.decide(conf, args)
	switch {
	case err != nil:
		log.Error("pod refused", "error", err)
		return err
	case d.Skip != "":
		log.Debug("pod left alone", "why", d.Skip)
		return nil
	}
	ns, err := netns.GetFromPath(a.Netns)
	if err != nil {
		return fmt.Errorf("find network namespace %s: %w", a.Netns, err)
	}
	defer ns.Close()
	err = Within(ns, func() error { return do(p.Context, d, log) })
	if err != nil {
		log.Error("pod's traffic not captured", "error", err)
		return fmt.Errorf("capture the pod's traffic: %w", err)
	}
	return nil
}

// fail makes an error one of the protocol's.
func fail(err error) error {
	if err == nil {
		return nil
	}
	return types.NewError(errorCode, "sluice: "+err.Error(), "")
}

// decode reads the configuration and what the plug-ins before this one have returned.
func decode(stdin []byte) (Conf, types.Result, error) {
	var c Conf
	if err := json.Unmarshal(stdin, &c); err != nil {
		return c, nil, fmt.Errorf("read the network configuration: %w", err)
	}
	if err := version.ParsePrevResult(&c.PluginConf); err != nil {
		return c, nil, fmt.Errorf("read the result of the plug-ins before: %w", err)
	}
	if c.PrevResult == nil {
		// Called by itself, as a further network of the pod.
		return c, &current.Result{CNIVersion: current.ImplementedSpecVersion}, nil
	}
	return c, c.PrevResult, nil
}

// decide finds out what to do. It asks the API server only if it must.
func (p Plugin) decide(conf Conf, args Args) (pod.Decision, error) {
	if why := conf.skip(args); why != "" {
		return pod.Decision{Skip: why}, nil
	}
	found, err := p.Fetch(p.Context, conf, args)
	if err != nil {
		return pod.Decision{}, err
	}
	d, problems := pod.Decide(found)
	if len(problems) > 0 {
		return pod.Decision{}, errors.New(problem.Join(problems) + "; correct it where the pod comes from, and create the pod anew")
	}
	return d, nil
}

// Within calls fn on a thread that is in a network namespace. The namespace must be another
// than the caller's: rules in that of the node would cut it off.
func Within(ns netns.NsHandle, fn func() error) error {
	own, err := netns.Get()
	if err != nil {
		return fmt.Errorf("find own network namespace: %w", err)
	}
	defer own.Close()
	if own.Equal(ns) {
		return errors.New("the network namespace is the node's")
	}
	var g errgroup.Group
	g.Go(func() error {
		runtime.LockOSThread() // never undone: the thread ends with the goroutine
		if err := netns.Set(ns); err != nil {
			return fmt.Errorf("enter network namespace: %w", err)
		}
		return fn()
	})
	return g.Wait()
}

// Args are what the runtime says of a sandbox.
type Args struct{ Namespace, Name, UID string }

// parseArgs reads CNI_ARGS, "KEY=VALUE;…".
func parseArgs(text string) Args {
	var a Args
	for word := range strings.SplitSeq(text, ";") {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "K8S_POD_NAMESPACE":
			a.Namespace = value
		case "K8S_POD_NAME":
			a.Name = value
		case "K8S_POD_UID":
			a.UID = value
		}
	}
	return a
}

// Intercept does what was decided in the network namespace of the calling thread.
func (s Settings) Intercept(ctx context.Context, d pod.Decision, log *slog.Logger) error {
	return initcontainer.Run(ctx, s.config(d, log))
}

// Verify fails unless the rules in force in the network namespace of the calling thread do
// what was decided.
func (s Settings) Verify(ctx context.Context, d pod.Decision, log *slog.Logger) error {
	found, err := initcontainer.Verify(ctx, s.config(d, log))
	if err != nil {
		return err
	}
	for _, f := range found {
		if f.Routing != nil {
			return f.Routing
		}
		if f.Disproof != nil {
			return f.Disproof
		}
	}
	return nil
}

func (s Settings) config(d pod.Decision, log *slog.Logger) initcontainer.Config {
	return initcontainer.Config{Capture: d.Capture, Options: s.Options(d), Log: log, Out: io.Discard}
}

// Options are those of a run for a decision.
func (s Settings) Options(d pod.Decision) capture.Options {
	return capture.Options{LogLevel: s.LogLevel, NativeNftables: s.NativeNftables, Flavour: s.Flavour, Notes: d.Notes}
}

// Package repair sees to the pods of a node that started before the network plug-in was
// there: they belong to the mesh, but nobody wrote their rules.
//
// Such a pod does not run unprotected: its init container istio-validation ends with exit
// code 126, again and again. As the user chose, the package writes the rules into the pod's
// living network namespace, so that the next validation passes, or deletes the pod, or
// labels it. It learns of pods from the API server and finds their namespaces through /proc
// of the node.
package repair

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/sluicemesh/sluice/internal/problem"

	"github.com/sluicemesh/sluice/initcontainer/cni/kube"
	"github.com/sluicemesh/sluice/initcontainer/cni/plugin"
	"github.com/sluicemesh/sluice/initcontainer/cni/pod"
)

// Mode is what is done with a broken pod.
type Mode string

// The modes, in the words of metrics.
const (
	Off    Mode = ""
	Repair Mode = "repair" // write the rules in place
	Delete Mode = "delete" // its controller makes another
	Label  Mode = "label"  // others act on the label
)

// notValidated is the exit code of an init container that found no rules.
const notValidated = 126

// Config says what is looked for and what is done.
type Config struct {
	Mode                 Mode
	Node                 string // whose pods are looked at
	InitContainer        string // that validates
	LabelKey, LabelValue string // for mode Label
	Proc                 string // /proc of the node
	Plugin               plugin.Settings
}

// Repairer looks after one node. All fields must be set.
type Repairer struct {
	Config
	Log *slog.Logger
	// Connect returns a client with the token of now.
	Connect func() (*kube.Client, error)
	// Report is told of each attempt.
	Report func(ok bool)
}

// The wait after the API server could not be asked.
const (
	shortestWait = time.Second
	longestWait  = 30 * time.Second
)

// Run looks after the node until ctx ends. What fails is tried again.
func (r Repairer) Run(ctx context.Context) error {
	wait := shortestWait
	seen := attempts{}
	for ctx.Err() == nil {
		err := r.follow(ctx, seen)
		if err == nil || ctx.Err() != nil {
			wait = shortestWait
			continue
		}
		r.Log.Warn("the node's pods cannot be looked after for now", "error", err, "wait", wait)
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = min(2*wait, longestWait)
	}
	return nil
}

// attempts are by pod the number of the failed validation that was acted on.
type attempts map[string]int

// follow looks at all pods once, then at those that change.
func (r Repairer) follow(ctx context.Context, seen attempts) error {
	client, err := r.Connect()
	if err != nil {
		return err
	}
	defer client.Close()
	alive := map[string]bool{}
	return client.Follow(ctx, r.Node, func(p *pod.Pod) {
		alive[p.Metadata.UID] = true
		r.see(ctx, client, p, seen)
	}, func() {
		for uid := range seen {
			if !alive[uid] {
				delete(seen, uid)
			}
		}
	})
}

// see acts on a pod if it is broken, once for each failed validation.
func (r Repairer) see(ctx context.Context, client *kube.Client, p *pod.Pod, seen attempts) {
	if !r.broken(p) {
		return
	}
	restarts, failed := p.Failed(r.InitContainer, notValidated)
	if !failed || seen[p.Metadata.UID] == restarts+1 {
		return
	}
	seen[p.Metadata.UID] = restarts + 1
	log := r.Log.With("pod", p.Metadata.Namespace+"/"+p.Metadata.Name, "mode", string(r.Mode))
	event := kube.Event{Node: r.Node, Time: time.Now(), Reason: "InterceptionRepaired",
		Message: "The pod started before the network plug-in was on the node; its interception rules have been written now."}
	err := r.act(ctx, client, p)
	r.Report(err == nil)
	if err != nil {
		log.Error("pod without interception rules not repaired", "error", err)
		event.Warning, event.Reason = true, "InterceptionNotRepaired"
		event.Message = "The pod has no interception rules, and writing them failed: " + err.Error()
	} else {
		log.Info("pod without interception rules repaired")
	}
	if r.Mode != Repair {
		return
	}
	if err := client.Tell(ctx, p, event); err != nil {
		log.Warn("pod's event not recorded", "error", err)
	}
}

// broken reports whether p may be a pod for this repairer.
func (r Repairer) broken(p *pod.Pod) bool {
	switch {
	case r.Mode == Off, !pod.Injected(p.Metadata.Annotations), p.Metadata.DeletionTimestamp != "", p.Status.Phase == "Succeeded":
		return false
	case r.Mode == Repair:
		// One that has failed for good has no namespace any more, one that is not yet
		// addressed none yet.
		return p.Status.Phase != "Failed" && p.Status.PodIP != ""
	case r.Mode == Label:
		return p.Metadata.Labels[r.LabelKey] != r.LabelValue
	}
	return true
}

func (r Repairer) act(ctx context.Context, client *kube.Client, p *pod.Pod) error {
	switch r.Mode {
	case Delete:
		return client.DeletePod(ctx, p)
	case Label:
		return client.LabelPod(ctx, p, r.LabelKey, r.LabelValue)
	case Repair:
		return r.write(ctx, p)
	case Off:
	}
	return fmt.Errorf("unknown mode %q", r.Mode)
}

// write writes the rules of a pod into its namespace.
func (r Repairer) write(ctx context.Context, p *pod.Pod) error {
	d, problems := pod.Decide(p)
	if len(problems) > 0 {
		return errors.New(problem.Join(problems))
	}
	if d.Skip != "" {
		return errors.New("the plug-in leaves the pod alone, as " + d.Skip)
	}
	ns, err := r.Namespace(p)
	if err != nil {
		return err
	}
	defer ns.Close()
	return plugin.Within(ns, func() error {
		return r.Plugin.Intercept(ctx, d, r.Log.With("pod", p.Metadata.Namespace+"/"+p.Metadata.Name))
	})
}

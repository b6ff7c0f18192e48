package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/sluicemesh/sluice/internal/capture"
	"github.com/sluicemesh/sluice/internal/problem"

	"github.com/sluicemesh/sluice/initcontainer"
	"github.com/sluicemesh/sluice/initcontainer/cni/plugin"
	"github.com/sluicemesh/sluice/initcontainer/cni/pod"
	"github.com/sluicemesh/sluice/initcontainer/cni/repair"
)

// Asks reports whether args are a question for Answer.
func Asks(args []string) bool {
	return len(args) > 0 && (args[0] == "verify" || args[0] == "trace")
}

// Answer answers on out what the command line asks about a pod of this node: "verify" or
// "trace", the pod as NAMESPACE/NAME, and the question's flags. It reports whether packets go
// where the pod asks for, which is what the plug-in would capture. An error means that this
// could not be found out. Nothing is changed.
func Answer(ctx context.Context, args []string, env func(string) string, out io.Writer) (well bool, err error) {
	if len(args) < 2 {
		return false, errors.New("name a pod: NAMESPACE/NAME")
	}
	c, err := Parse(env)
	if err != nil {
		return false, err
	}
	question, rest, _, err := initcontainer.NewQuestion(append(args[:1:1], args[2:]...))
	if err != nil {
		return false, err
	}
	if len(rest) > 0 {
		return false, fmt.Errorf("unexpected arguments %q", rest)
	}
	p, err := c.find(ctx, args[1])
	if err != nil {
		return false, err
	}
	d, problems := pod.Decide(p)
	switch {
	case len(problems) > 0:
		return false, errors.New(problem.Join(problems))
	case d.Skip != "":
		return false, fmt.Errorf("the plug-in leaves pod %s alone: %s", args[1], d.Skip)
	}
	ns, err := repair.Repairer{Config: c.Repair}.Namespace(p)
	if err != nil {
		return false, err
	}
	defer ns.Close()
	settings := initcontainer.Config{
		Capture: d.Capture, Log: slog.New(slog.DiscardHandler), Out: out,
		Options: capture.Options{NativeNftables: c.Repair.Plugin.NativeNftables, Flavour: c.Repair.Plugin.Flavour},
	}
	err = plugin.Within(ns, func() (err error) {
		well, err = initcontainer.Answer(ctx, settings, question)
		return err
	})
	return well, err
}

// find reads a pod.
func (c Config) find(ctx context.Context, title string) (*pod.Pod, error) {
	namespace, name, ok := strings.Cut(title, "/")
	if !ok {
		return nil, fmt.Errorf("%q is no pod: write NAMESPACE/NAME", title)
	}
	client, err := connect(c.Install)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	p, err := client.Pod(ctx, namespace, name)
	if err != nil {
		return nil, fmt.Errorf("read pod %s: %w", title, err)
	}
	return p, nil
}

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

// Asks reports whether args ask about the rules of one pod of the node:
// "verify NAMESPACE/POD", or "trace NAMESPACE/POD" with what describes a packet.
func Asks(args []string) bool {
	return len(args) > 0 && (args[0] == "verify" || args[0] == "trace")
}

// Ask answers on out what args ask about the rules in force in a pod, and reports whether
// packets go where they should. What the pod asks for it finds as the plug-in does. It
// changes nothing.
func Ask(ctx context.Context, env func(string) string, args []string, out io.Writer) (well bool, err error) {
	c, err := Parse(env)
	if err != nil {
		return false, err
	}
	if len(args) < 2 {
		return false, fmt.Errorf("%s: name the pod, NAMESPACE/POD", args[0])
	}
	namespace, name, ok := strings.Cut(args[1], "/")
	if !ok || namespace == "" || name == "" {
		return false, fmt.Errorf("%q is no pod, write NAMESPACE/POD", args[1])
	}
	question, rest, _, err := initcontainer.NewQuestion(append([]string{args[0]}, args[2:]...))
	if err != nil {
		return false, err
	}
	if len(rest) > 0 {
		return false, fmt.Errorf("%s: unknown argument %q", args[0], rest[0])
	}
	client, err := connect(c.Install)
	if err != nil {
		return false, err
	}
	defer client.Close()
	p, err := client.Pod(ctx, namespace, name)
	if err != nil {
		return false, err
	}
	return answer(ctx, c.Repair, p, question, out)
}

// answer answers in the pod's network namespace.
func answer(ctx context.Context, c repair.Config, p *pod.Pod, q initcontainer.Question, out io.Writer) (well bool, err error) {
	d, problems := pod.Decide(p)
	if len(problems) > 0 {
		return false, errors.New(problem.Join(problems))
	}
	if d.Skip != "" && d.Capture.Mode != capture.None { // a pod of mode NONE asks for no rules
		return false, fmt.Errorf("the plug-in leaves the pod alone: %s", d.Skip)
	}
	ns, err := c.Namespace(p)
	if err != nil {
		return false, err
	}
	defer ns.Close()
	settings := initcontainer.Config{
		Capture: d.Capture, Options: c.Plugin.Options(d), Log: slog.New(slog.DiscardHandler), Out: out,
	}
	err = plugin.Within(ns, func() error {
		well, err = initcontainer.Answer(ctx, settings, q)
		return err
	})
	return well, err
}

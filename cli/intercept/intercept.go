// Package intercept has the verbs that look into a pod's network: verify-rules, which proves
// that exactly the wanted packets are captured, and trace-packet, which shows the way of one.
//
// Both are done by sluice-init inside the pod, told what the pod's own init container was
// told: in an ephemeral container, or, where those are not admitted, by the network plug-in's
// agent on the pod's node. This package finds out what the pod asks for, gets that program
// run, and shows what it says. It decides nothing about packets. A pod gets an ephemeral
// container from it, which Kubernetes keeps until the pod ends, and is else left as it is.
package intercept

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/sluicemesh/sluice/cli/target"
	"github.com/sluicemesh/sluice/cli/terminal"
	"github.com/sluicemesh/sluice/cli/workload"
)

// Exit codes beside 0.
const (
	Differs = target.Exit(1) // some packet goes another way than it should
	Unknown = target.Exit(2) // it could not be found out
)

// codeDiffers is what sluice-init ends with where packets differ.
const codeDiffers = 126

// options are the flags that both verbs have.
type options struct {
	target  *target.Target
	image   string
	timeout time.Duration
	output  string
	color   string
}

func (o *options) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.image, "image", "", "image that has /usr/local/bin/sluice-init; empty means that of the pod's proxy")
	f.DurationVar(&o.timeout, "timeout", time.Minute, "how long it may take")
	f.StringVarP(&o.output, "output", "o", "", "json; empty for text")
	f.StringVar(&o.color, "color", terminal.ColorAuto, "auto, always or never")
	// A mistyped command has found nothing out: 1 would say that packets differ.
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return o.told(err) })
}

const rights = `It takes the rights to get pods, to patch pods/ephemeralcontainers and to get pods/log in the pod's
namespace. Where ephemeral containers with NET_ADMIN are not admitted, as in a namespace of Pod Security level
restricted, the network plug-in's agent on the pod's node is asked: list pods and create pods/exec in its
namespace. See docs/verify-rules.md.`

// VerifyCommand returns the verb verify-rules.
func VerifyCommand(t *target.Target) *cobra.Command {
	o := &options{target: t}
	cmd := &cobra.Command{
		Use:   "verify-rules POD",
		Short: "Prove that exactly the wanted packets of a pod are captured, or show which are not",
		Long: `Prove that the interception rules in force in a pod capture exactly the packets that the pod asks for.

The rules are read back from the kernel, every class of packet is run through them, and what becomes of it is
compared with what the pod asks for. Where they differ, an example of each such class is shown with its way
through the rules. The pod's containers go on meanwhile.

` + rights + `

The exit code is 0 when the proof succeeds, 1 when packets differ, 2 when it could not be found out.`,
		Example: `  sluice verify-rules httpbin-5d4f-abcde -n shop
  sluice verify-rules httpbin-5d4f-abcde.shop -o json`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return o.told(errors.New("name one POD, and its namespace with -n"))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.told(o.inPod(cmd.Context(), args[0], question{verb: "verify"}))
		},
	}
	o.addFlags(cmd)
	return cmd
}

// question is what sluice-init is asked.
type question struct {
	verb string   // its word
	args []string // behind what the pod's init container was told
}

// told prints an error and turns it into the exit code for it.
func (o *options) told(err error) error {
	var code target.Exit
	if err == nil || errors.As(err, &code) {
		return err
	}
	fmt.Fprintln(o.target.Err, "Error:", err)
	return Unknown
}

// inPod asks about a pod of the cluster and prints the answer.
func (o *options) inPod(ctx context.Context, name string, q question) error {
	if o.output != "" && o.output != "json" {
		return fmt.Errorf("unknown output %q: json, or nothing for text", o.output)
	}
	if o.output == "json" {
		q.args = append(q.args, "--json")
	}
	paint, err := terminal.NewPaint(o.color, o.target.Out, o.target.NoColor)
	if err != nil {
		return err
	}
	ref, err := workload.ParseRef([]string{name})
	if err != nil {
		return err
	}
	if len(ref.Kind.Template) > 0 {
		return fmt.Errorf("%q is no pod: rules are of one pod's network; name one of its pods", name)
	}
	if ref.Namespace == "" {
		ref.Namespace = o.target.DefaultNamespace()
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	c, err := o.connect()
	if err != nil {
		return err
	}
	a, err := c.ask(ctx, ref, q)
	if err != nil {
		return err
	}
	if o.output == "" {
		a.title(o.target.Out, paint, ref, q)
	}
	fmt.Fprintln(o.target.Out, strings.TrimRight(a.text, "\n"))
	switch a.code {
	case 0:
		return nil
	case codeDiffers:
		return Differs
	}
	return fmt.Errorf("sluice-init ended with exit code %d in pod %s/%s, see above", a.code, ref.Namespace, ref.Name)
}

// cluster is how pods are reached.
type cluster struct {
	*options
	config *rest.Config
	client kubernetes.Interface
}

func (o *options) connect() (*cluster, error) {
	config, err := o.target.RESTConfig()
	if err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("reach the cluster %s: %w", config.Host, err)
	}
	return &cluster{o, config, client}, nil
}

// answer is what sluice-init said.
type answer struct {
	text string
	code int
	by   string // where it ran, for people
}

// ask gets the question answered about a pod.
func (c *cluster) ask(ctx context.Context, ref workload.Ref, q question) (answer, error) {
	pod, err := c.pod(ctx, ref)
	if err != nil {
		return answer{}, err
	}
	in, err := examine(pod)
	if err != nil {
		return answer{}, err
	}
	if c.image != "" {
		in.image = c.image
	}
	a, err := c.inside(ctx, in, q)
	var refused *notAdmitted
	if !errors.As(err, &refused) {
		return a, err
	}
	a, agentErr := c.byAgent(ctx, in, q)
	if agentErr != nil {
		return answer{}, fmt.Errorf("%w\nand the network plug-in cannot help: %w", err, agentErr)
	}
	return a, nil
}

// inspection is a pod and what is to be found out about it.
type inspection struct {
	pod   *corev1.Pod
	image string          // that has sluice-init
	args  []string        // what the pod's init container was told, without what it is to do
	env   []corev1.EnvVar // its environment
}

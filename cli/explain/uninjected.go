package explain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/duration"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluicemesh/sluice/cli/source"
	"github.com/sluicemesh/sluice/cli/target"
	"github.com/sluicemesh/sluice/webhook"
	"github.com/sluicemesh/sluice/webhook/audit"
	"github.com/sluicemesh/sluice/webhook/policy"
)

// page is how many pods are asked for at a time.
const page = 500

type listOptions struct {
	all    bool
	check  bool
	output string
}

// UninjectedCommand returns the verb uninjected.
func UninjectedCommand(t *target.Target) *cobra.Command {
	o := &listOptions{}
	cmd := &cobra.Command{
		Use:   "uninjected",
		Short: "List pods that should have the proxy and have none, or an outdated one",
		Long: `List the running pods that injection would give a proxy today and that have none, or one of another
image, with what to do about each. Why a pod would be injected, explain-inject says.`,
		Example: `  sluice uninjected -A
  sluice uninjected -n shop --check -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context(), t) },
	}
	f := cmd.Flags()
	f.BoolVarP(&o.all, "all-namespaces", "A", false, "look into all namespaces")
	f.BoolVar(&o.check, "check", false, "exit with code 1 when there is any")
	f.StringVarP(&o.output, "output", "o", "", "json; empty for text")
	return cmd
}

// finding is one pod, in the shape that scripts read.
type finding struct {
	Namespace string `json:"namespace"`
	Pod       string `json:"pod"`
	Owner     string `json:"owner"`
	Reason    string `json:"reason"`
	// Found is the reason in words, Remedy what to do.
	Found    string    `json:"found"`
	Remedy   string    `json:"remedy"`
	Created  time.Time `json:"created"`
	Revision string    `json:"revision"`
	Webhook  string    `json:"webhook"`
	// Image and Want are the proxy's image and the one that injection would give, for an
	// outdated proxy.
	Image string `json:"image,omitempty"`
	Want  string `json:"want,omitempty"`
}

func (o *listOptions) run(ctx context.Context, t *target.Target) error {
	if !slices.Contains([]string{"", "json"}, o.output) {
		return fmt.Errorf("unknown output %q: json, or nothing for text", o.output)
	}
	s, err := source.Open(ctx, t, source.Options{})
	if err != nil {
		return err
	}
	c, live := s.Cluster()
	if !live {
		return errors.New(s.Notes[0])
	}
	w, err := newWorld(ctx, s)
	if err != nil {
		return err
	}
	namespace := t.DefaultNamespace()
	if o.all {
		namespace = ""
	}
	found, seen, err := w.audit(ctx, c, namespace)
	if err != nil {
		return err
	}
	for _, n := range w.notes {
		fmt.Fprintln(t.Err, n)
	}
	if err := o.print(t, found, seen); err != nil {
		return err
	}
	if o.check && len(found) > 0 {
		return target.Exit(1)
	}
	return nil
}

// audit judges all pods of a namespace, of all namespaces for "", and says how many it saw.
func (w *world) audit(ctx context.Context, c client.Client, namespace string) ([]finding, int, error) {
	if err := w.readNamespaces(ctx, c, namespace); err != nil {
		return nil, 0, err
	}
	cluster := audit.Cluster{
		Labels:   func(name string) map[string]string { return w.namespaces[name].Labels },
		Webhooks: w.webhooks,
		Revision: func(name string) (audit.Revision, bool) {
			i := w.injector(ctx, name)
			if i == nil {
				return audit.Revision{}, false
			}
			image := func(pod *corev1.Pod) string { return webhook.ProxyImage(i.Settings, pod) }
			return audit.Revision{Rules: i.Settings.Rules, Image: image}, true
		},
	}
	out, seen := []finding{}, 0
	var pods corev1.PodList
	for {
		err := c.List(ctx, &pods, client.InNamespace(namespace), client.Limit(page), client.Continue(pods.Continue))
		if err != nil {
			return nil, 0, fmt.Errorf("list pods: %w", err)
		}
		some := make([]*corev1.Pod, len(pods.Items))
		for i := range pods.Items {
			some[i] = &pods.Items[i]
		}
		for _, f := range audit.Check(cluster, some) {
			out = append(out, findingOf(f))
		}
		seen += len(some)
		if pods.Continue == "" {
			return out, seen, nil
		}
	}
}

// readNamespaces reads the labels of one namespace, or of all.
func (w *world) readNamespaces(ctx context.Context, c client.Client, name string) error {
	if name != "" {
		_, err := w.namespace(ctx, name)
		return err
	}
	var list corev1.NamespaceList
	if err := c.List(ctx, &list); err != nil {
		return fmt.Errorf("list namespaces: %w", err)
	}
	for i := range list.Items {
		n := &list.Items[i]
		w.namespaces[n.Name] = policy.Namespace{Name: n.Name, Labels: n.Labels}
	}
	return nil
}

func findingOf(f audit.Finding) finding {
	return finding{
		Namespace: f.Pod.Namespace, Pod: f.Pod.Name, Owner: f.Workload.Kind + "/" + f.Workload.Name,
		Reason: string(f.Reason), Found: f.Found(), Remedy: f.Remedy(), Created: f.Created,
		Revision: f.Revision, Webhook: f.Webhook, Image: f.Image, Want: f.Want,
	}
}

func (o *listOptions) print(t *target.Target, found []finding, seen int) error {
	if o.output == "json" {
		text, err := json.MarshalIndent(found, "", "  ")
		if err != nil {
			return fmt.Errorf("write the list: %w", err)
		}
		_, err = fmt.Fprintf(t.Out, "%s\n", text)
		return err
	}
	if len(found) == 0 {
		_, err := fmt.Fprintf(t.Out, "None of %d pods lacks a proxy that injection would give it, or runs an outdated one.\n", seen)
		return err
	}
	out := tabwriter.NewWriter(t.Out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(out, "NAMESPACE\tPOD\tOWNER\tREASON\tAGE\tWHAT TO DO")
	for _, f := range found {
		fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%s\t%s\n",
			f.Namespace, f.Pod, f.Owner, f.Reason, duration.HumanDuration(time.Since(f.Created)), f.Remedy)
	}
	return out.Flush()
}

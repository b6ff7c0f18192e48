// Package version has the verb version: the versions of the command, of the control planes
// and of the proxies in the cluster.
//
// What runs in the cluster is read from the images of its pods, so that it is known of a
// control plane that does not answer, too.
package version

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/sluicemesh/sluice/cli/target"
)

// patience is how long a cluster may take to answer.
const patience = 15 * time.Second

// versions is what is printed, in the shape that users' scripts read.
type versions struct {
	Client    info        `json:"clientVersion"`
	Mesh      []component `json:"meshVersion,omitempty"`
	DataPlane []proxy     `json:"dataPlaneVersion,omitempty"`
}

type info struct {
	Version string `json:"version"`
	Go      string `json:"golang_version,omitempty"`
}

type component struct {
	Component string `json:"Component"`
	Revision  string `json:"revision"`
	Info      info   `json:"Info"`
}

type proxy struct {
	ID      string `json:"ID"`
	Version string `json:"IstioVersion"`
}

type options struct {
	output string
	short  bool
	remote bool
}

// Command returns the verb version.
func Command(t *target.Target) *cobra.Command {
	o := &options{}
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the versions of the command, the control plane and the proxies",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context(), t) },
	}
	cmd.Flags().StringVarP(&o.output, "output", "o", "", "json or yaml; empty for text")
	cmd.Flags().BoolVarP(&o.short, "short", "s", true, "in text, the versions alone; otherwise a line for each control plane and proxy too")
	cmd.Flags().BoolVar(&o.remote, "remote", true, "ask the cluster")
	return cmd
}

func (o *options) run(ctx context.Context, t *target.Target) error {
	if !slices.Contains([]string{"", "json", "yaml"}, o.output) {
		return fmt.Errorf("unknown output %q: json or yaml", o.output)
	}
	v := versions{Client: info{Version: t.Version, Go: runtime.Version()}}
	var failure error
	if o.remote {
		failure = v.ask(ctx, t)
	}
	if err := o.print(t, v, failure == nil); err != nil {
		return err
	}
	if failure != nil {
		fmt.Fprintf(t.Err, "the cluster's versions are unknown: %v\n", failure)
	}
	return nil
}

// ask fills in what runs in the cluster.
func (v *versions) ask(ctx context.Context, t *target.Target) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c, err := t.Client()
	if err != nil {
		return err
	}
	var pods corev1.PodList
	for {
		err := c.List(ctx, &pods, client.Limit(500), client.Continue(pods.Continue))
		if err != nil {
			return fmt.Errorf("list pods: %w", err)
		}
		for _, p := range pods.Items {
			v.add(p, t.IstioNamespace)
		}
		if pods.Continue == "" {
			return nil
		}
	}
}

// add counts a running pod in, if it is of the mesh.
func (v *versions) add(p corev1.Pod, istioNamespace string) {
	if p.Status.Phase != corev1.PodRunning {
		return
	}
	if p.Namespace == istioNamespace && p.Labels["app"] == "istiod" {
		if image, ok := image(p, "discovery"); ok {
			v.Mesh = append(v.Mesh, component{"pilot", p.Labels["istio.io/rev"], info{Version: tag(image)}})
		}
	}
	if image, ok := image(p, "istio-proxy"); ok {
		v.DataPlane = append(v.DataPlane, proxy{p.Name + "." + p.Namespace, tag(image)})
	}
}

// image is that of a container, which may be an init container.
func image(p corev1.Pod, container string) (string, bool) {
	for _, c := range slices.Concat(p.Spec.InitContainers, p.Spec.Containers) {
		if c.Name == container {
			return c.Image, true
		}
	}
	return "", false
}

// tag of an image reference: its digest if it has no tag, "latest" if neither.
func tag(image string) string {
	name, digest, _ := strings.Cut(image, "@")
	if i := strings.LastIndex(name, ":"); i > strings.LastIndex(name, "/") {
		return name[i+1:]
	}
	if digest != "" {
		return digest
	}
	return "latest"
}

func (o *options) print(t *target.Target, v versions, asked bool) error {
	switch o.output {
	case "json":
		text, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			return err
		}
		fmt.Fprintln(t.Out, string(text))
		return nil
	case "yaml":
		text, err := yaml.Marshal(v)
		if err != nil {
			return err
		}
		_, err = t.Out.Write(text)
		return err
	}
	o.text(t, v, asked && o.remote)
	return nil
}

// text prints for people.
func (o *options) text(t *target.Target, v versions, asked bool) {
	fmt.Fprintln(t.Out, "client version:", v.Client.Version)
	if !asked {
		return
	}
	if len(v.Mesh) == 0 {
		fmt.Fprintf(t.Out, "control plane version: none runs in the namespace %q\n", t.IstioNamespace)
	} else {
		planes := map[string]bool{}
		for _, m := range v.Mesh {
			planes[m.Info.Version] = true
		}
		fmt.Fprintln(t.Out, "control plane version:", strings.Join(slices.Sorted(maps.Keys(planes)), ", "))
	}
	counts := map[string]int{}
	for _, p := range v.DataPlane {
		counts[p.Version]++
	}
	var proxies []string
	for _, version := range slices.Sorted(maps.Keys(counts)) {
		proxies = append(proxies, fmt.Sprintf("%s (%d proxies)", version, counts[version]))
	}
	if len(proxies) == 0 {
		proxies = []string{"none (0 proxies)"}
	}
	fmt.Fprintln(t.Out, "data plane version:", strings.Join(proxies, ", "))
	if o.short {
		return
	}
	for _, m := range v.Mesh {
		fmt.Fprintf(t.Out, "control plane %s (revision %s): %s\n", m.Component, m.Revision, m.Info.Version)
	}
	for _, p := range v.DataPlane {
		fmt.Fprintf(t.Out, "proxy %s: %s\n", p.ID, p.Version)
	}
}

// Package play performs the demonstration: it sets the scene, sends requests and has drawn
// what became of each.
//
// What it shows is observed: statuses by the caller, ways and TLS by the access logs of the
// proxies, identities by what the application was told. It decides what was expected and
// fails when that is not what happened. It works only on clusters it made itself, because
// it changes their DNS and their default namespace.
package play

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/sluicemesh/sluice/e2e/cluster"
	"github.com/sluicemesh/sluice/e2e/demo/journey"
	"github.com/sluicemesh/sluice/e2e/demo/picture"
	"github.com/sluicemesh/sluice/e2e/stage"
)

// Config says where and how the demonstration is shown.
type Config struct {
	Cluster string          // name of the cluster
	Out     io.Writer       // for people; required
	Palette picture.Palette // of Out
}

// errCurrent refuses the user's own cluster.
var errCurrent = errors.New("CLUSTER=current: the demo changes a cluster's DNS and its namespace default, so it works only on one of its own; unset CLUSTER")

// director is a performance under way.
type director struct {
	st      *stage.Stage
	out     io.Writer
	palette picture.Palette
	gateway string // address of the ingress gateway
	pods    []journey.Pod
	shown   int
	failed  []string // requests that did something else than expected
}

// Up brings up the cluster with the mesh and the samples, plays every scene and says how to
// go on. It returns an error if anything could not be prepared, or if any request did not do
// what is expected; the cluster is left up in any case.
func Up(ctx context.Context, cfg Config) error {
	if os.Getenv("CLUSTER") == "current" {
		return errCurrent
	}
	begin := time.Now()
	root, err := os.Getwd()
	if err != nil {
		return fmt.Errorf("find the module: %w", err)
	}
	st, err := stage.Prepare(ctx, stage.Config{Cluster: cluster.Config{Name: cfg.Cluster}, Root: root, Log: cfg.Out})
	if err != nil {
		return err
	}
	d := &director{st: st, out: cfg.Out, palette: cfg.Palette}
	if err := d.set(ctx); err != nil {
		return fmt.Errorf("set the scene: %w", err)
	}
	d.say("✓ samples are up; the scene was set in %s", elapsed(begin))
	for _, s := range d.scenes() {
		if err := d.play(ctx, s); err != nil {
			return fmt.Errorf("scene %q: %w", s.title, err)
		}
	}
	d.say("%s", closing(ending{
		total: elapsed(begin), requests: d.shown, failed: d.failed,
		kubeconfig: st.Kubeconfig, bin: st.Bin(), gateway: d.gateway, remove: removal(cfg.Cluster),
	}))
	if len(d.failed) > 0 {
		return fmt.Errorf("%d of %d requests did not do what is expected: %s", len(d.failed), d.shown, strings.Join(d.failed, ", "))
	}
	return nil
}

// removal is the command that removes a cluster.
func removal(name string) string {
	if name == cluster.DefaultName {
		return "make demo-down"
	}
	return "go run ./e2e/demo down --name " + name
}

// Down removes the cluster.
func Down(ctx context.Context, cfg Config) error {
	if os.Getenv("CLUSTER") == "current" {
		return errCurrent
	}
	return cluster.Down(ctx, cluster.Config{Name: cfg.Cluster, Log: cfg.Out})
}

func (d *director) say(format string, args ...any) {
	_, _ = fmt.Fprintf(d.out, format+"\n", args...) // a closed terminal must not end the run
}

func elapsed(begin time.Time) string { return time.Since(begin).Round(100 * time.Millisecond).String() }

// set puts the samples on the stage. What is there already and unchanged is kept.
func (d *director) set(ctx context.Context) error {
	if _, err := d.st.Kubectl(ctx, "label", "namespace", "default", "istio-injection=enabled", "--overwrite"); err != nil {
		return err
	}
	if err := d.st.Namespace(ctx, plainNamespace, false); err != nil {
		return err
	}
	if err := d.st.Apply(ctx, "default",
		"samples/sleep/sleep.yaml", "samples/httpbin/httpbin.yaml",
		"samples/demoapp/demoappv10.yaml", "samples/demoapp/demoappv11.yaml", "samples/demoapp/demoapp.yaml",
	); err != nil {
		return err
	}
	if err := d.st.Apply(ctx, plainNamespace, "samples/sleep/sleep.yaml"); err != nil {
		return err
	}
	if err := d.refresh(ctx); err != nil {
		return err
	}
	if err := d.rollout(ctx); err != nil {
		return err
	}
	if _, _, err := d.st.ExternalSite(ctx); err != nil {
		return fmt.Errorf("external site: %w", err)
	}
	err := stage.Eventually(ctx, time.Minute, func(ctx context.Context) (err error) {
		d.gateway, err = d.st.GatewayAddress(ctx, "istio-ingressgateway")
		return err
	})
	if err != nil {
		return fmt.Errorf("address of the ingress gateway: %w", err)
	}
	return d.look(ctx)
}

// meshed are the workloads with a proxy, by namespace.
var meshed = [...]struct{ namespace, workload, app string }{
	{"istio-system", "deploy/istio-ingressgateway", "istio-ingressgateway"},
	{"istio-system", "deploy/istio-egressgateway", "istio-egressgateway"},
	{"default", "deploy/sleep", "sleep"},
	{"default", "deploy/httpbin", "httpbin"},
	{"default", "deploy/demoappv10", "demoapp"},
	{"default", "deploy/demoappv11", "demoapp"},
}

// refresh restarts workloads whose proxies are of an earlier build: a pod keeps the proxy
// that it was injected with.
func (d *director) refresh(ctx context.Context) error {
	if err := d.look(ctx); err != nil {
		return err
	}
	for _, m := range meshed {
		if !d.stale(m.namespace, m.app) {
			continue
		}
		if _, err := d.st.Kubectl(ctx, "-n", m.namespace, "rollout", "restart", m.workload); err != nil {
			return err
		}
	}
	return nil
}

func (d *director) stale(namespace, app string) bool {
	for _, p := range d.pods {
		if p.Namespace == namespace && p.App == app && !strings.HasSuffix(p.Proxy, ":"+d.st.Tag) {
			return true
		}
	}
	return false
}

func (d *director) rollout(ctx context.Context) error {
	for _, m := range meshed {
		if err := d.st.Rollout(ctx, m.namespace, m.workload); err != nil {
			return err
		}
	}
	return d.st.Rollout(ctx, plainNamespace, "deploy/sleep")
}

// look reads which pods there are.
func (d *director) look(ctx context.Context) error {
	text, err := d.st.Kubectl(ctx, "get", "pods", "--all-namespaces", "-o", "json")
	if err != nil {
		return err
	}
	d.pods, err = journey.ParsePods([]byte(text))
	return err
}

// pod returns a pod of an app in a namespace.
func (d *director) pod(namespace, app string) (journey.Pod, error) {
	for _, p := range d.pods {
		if p.Namespace == namespace && p.App == app {
			return p, nil
		}
	}
	return journey.Pod{}, fmt.Errorf("no running pod of %s in namespace %s", app, namespace)
}

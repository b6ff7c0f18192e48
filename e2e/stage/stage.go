// Package stage sets the scene that scenarios and the demo play on: a cluster, the images
// in it, the mesh installed, and the hands of a user: kubectl, sluice, curl from a pod.
//
// It does only what a user could do by typing. What goes in is a Config; what comes out is
// a Stage whose methods run one command each and return what it printed.
package stage

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/sluicemesh/sluice/e2e/cluster"
	"github.com/sluicemesh/sluice/e2e/images"
)

// Config says what scene is wanted.
type Config struct {
	Cluster cluster.Config
	// Root is the directory of the module: programs are built from it, samples read.
	Root string
	// Settings are further --set arguments of "sluice install".
	Settings []string
	// Log is told what happens, for people; nil means silence.
	Log io.Writer
}

// Stage is a cluster with the mesh in it.
type Stage struct {
	Root       string
	Kubeconfig string
	Tag        string // of the mesh's images
	bin        string // directory with kubectl and sluice
	log        io.Writer
}

// Prepare brings up the cluster, builds and loads the images and installs the mesh. What
// is there already and unchanged is kept, so that a second call is quick.
func Prepare(ctx context.Context, cfg Config) (*Stage, error) {
	if cfg.Log == nil {
		cfg.Log = io.Discard
	}
	cfg.Cluster.Log = cfg.Log
	built, err := images.Build(ctx, images.Config{Root: cfg.Root, Progress: cfg.Log})
	if err != nil {
		return nil, fmt.Errorf("build images: %w", err)
	}
	c, err := cluster.Up(ctx, cfg.Cluster)
	if err != nil {
		return nil, fmt.Errorf("bring up cluster: %w", err)
	}
	archives := make([]string, len(built))
	for i, image := range built {
		archives[i] = image.Archive
	}
	if err := c.Load(ctx, archives...); err != nil {
		return nil, fmt.Errorf("load images: %w", err)
	}
	s := &Stage{Root: cfg.Root, Kubeconfig: c.Kubeconfig(), log: cfg.Log}
	if s.Tag, err = images.Tag(ctx, images.Config{Root: cfg.Root}); err != nil {
		return nil, fmt.Errorf("find the images' tag: %w", err)
	}
	if err := s.tools(ctx, cfg.Cluster); err != nil {
		return nil, err
	}
	return s, s.Install(ctx, cfg.Settings...)
}

// tools puts kubectl (of the cluster's version) and a fresh sluice side by side.
func (s *Stage) tools(ctx context.Context, cfg cluster.Config) error {
	assets, err := cluster.Assets(ctx, cfg)
	if err != nil {
		return fmt.Errorf("find kubectl: %w", err)
	}
	cache, err := images.DefaultCache()
	if err != nil {
		return err
	}
	s.bin = filepath.Join(cache, "bin")
	if err := os.MkdirAll(s.bin, 0o755); err != nil {
		return err
	}
	kubectl := filepath.Join(s.bin, "kubectl")
	if target, err := os.Readlink(kubectl); err != nil || target != filepath.Join(assets, "kubectl") {
		_ = os.Remove(kubectl) // absent is as good as removed; Symlink reports the rest
		if err := os.Symlink(filepath.Join(assets, "kubectl"), kubectl); err != nil {
			return err
		}
	}
	build := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(s.bin, "sluice"), "./cmd/sluice")
	build.Dir = s.Root
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build sluice: %w: %s", err, out)
	}
	return nil
}

// Install installs the mesh as a user would, or changes what is installed: settings are
// further --set arguments, for which those of an earlier call do not count.
func (s *Stage) Install(ctx context.Context, settings ...string) error {
	args := []string{"install", "--set", "profile=demo", "--set", "hub=" + images.Hub, "--set", "tag=" + s.Tag, "-y"}
	for _, set := range settings {
		args = append(args, "--set", set)
	}
	cmd := s.command(ctx, "sluice", args...)
	var out bytes.Buffer
	cmd.Stdout = io.MultiWriter(s.log, &out)
	cmd.Stderr = cmd.Stdout
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("sluice %s: %w\n%s", strings.Join(args, " "), err, out.String())
	}
	return nil
}

// Bin is the directory that holds kubectl and sluice.
func (s *Stage) Bin() string { return s.bin }

func (s *Stage) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, name), args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+s.Kubeconfig)
	cmd.Dir = s.Root
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// Run runs kubectl or sluice and returns what it printed. The error holds the command and
// all it printed.
func (s *Stage) Run(ctx context.Context, name string, args ...string) (string, error) {
	return s.RunInput(ctx, "", name, args...)
}

// RunInput is Run with standard input.
func (s *Stage) RunInput(ctx context.Context, input, name string, args ...string) (string, error) {
	cmd := s.command(ctx, name, args...)
	cmd.Stdin = strings.NewReader(input)
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s %s: %w\n%s%s", name, strings.Join(args, " "), err, out.String(), complaint.String())
	}
	return out.String(), nil
}

// Kubectl runs kubectl.
func (s *Stage) Kubectl(ctx context.Context, args ...string) (string, error) {
	return s.Run(ctx, "kubectl", args...)
}

// Apply applies manifests in a namespace: each a file of the module, or YAML text.
func (s *Stage) Apply(ctx context.Context, namespace string, manifests ...string) error {
	return s.each(ctx, namespace, manifests, "apply")
}

// Delete deletes what manifests name; what is not there is fine.
func (s *Stage) Delete(ctx context.Context, namespace string, manifests ...string) error {
	return s.each(ctx, namespace, manifests, "delete", "--ignore-not-found", "--wait=true")
}

func (s *Stage) each(ctx context.Context, namespace string, manifests []string, verb ...string) error {
	for _, m := range manifests {
		args := append([]string{"-n", namespace}, verb...)
		input := ""
		if strings.Contains(m, "\n") {
			input = m
			args = append(args, "-f", "-")
		} else {
			args = append(args, "-f", m)
		}
		if _, err := s.RunInput(ctx, input, "kubectl", args...); err != nil {
			return err
		}
	}
	return nil
}

// Rollout waits until workloads ("deploy/sleep") of a namespace are rolled out.
func (s *Stage) Rollout(ctx context.Context, namespace string, workloads ...string) error {
	for _, w := range workloads {
		if _, err := s.Kubectl(ctx, "-n", namespace, "rollout", "status", w, "--timeout=180s"); err != nil {
			return err
		}
	}
	return nil
}

// RestartOutdated restarts the Deployments of a namespace whose pods run another proxy
// than the one installed: proxies are replaced with their pods only.
func (s *Stage) RestartOutdated(ctx context.Context, namespace string) error {
	out, err := s.Kubectl(ctx, "-n", namespace, "get", "pods", "-o",
		`jsonpath={range .items[*]}{.metadata.annotations.sidecar\.istio\.io/status}{" "}{.spec.initContainers[*].image} {.spec.containers[*].image}{"\n"}{end}`)
	if err != nil {
		return err
	}
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "{") && !strings.Contains(line, "/proxyv2:"+s.Tag) {
			_, err := s.Kubectl(ctx, "-n", namespace, "rollout", "restart", "deployment")
			return err
		}
	}
	return nil
}

// Namespace makes a namespace, with injection or without.
func (s *Stage) Namespace(ctx context.Context, name string, injected bool) error {
	label := "istio-injection: disabled"
	if injected {
		label = "istio-injection: enabled"
	}
	return s.Apply(ctx, "default", fmt.Sprintf("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: %s\n  labels:\n    %s\n", name, label))
}

// Exec runs a command in a container of a pod or workload ("deploy/sleep").
func (s *Stage) Exec(ctx context.Context, namespace, target, container string, command ...string) (string, error) {
	args := append([]string{"-n", namespace, "exec", target, "-c", container, "--"}, command...)
	return s.Kubectl(ctx, args...)
}

// Curl runs curl in the sleep sample of a namespace and returns what it printed.
func (s *Stage) Curl(ctx context.Context, namespace string, args ...string) (string, error) {
	return s.Exec(ctx, namespace, "deploy/sleep", "sleep", append([]string{"curl", "-sS", "--max-time", "10"}, args...)...)
}

// Admin asks the Envoy of a pod or workload: "GET /stats" and the like.
func (s *Stage) Admin(ctx context.Context, namespace, target, method, path string) (string, error) {
	return s.Exec(ctx, namespace, target, "istio-proxy", "pilot-agent", "request", method, path)
}

// GatewayAddress is the address that a gateway's Service of type LoadBalancer got.
func (s *Stage) GatewayAddress(ctx context.Context, service string) (string, error) {
	out, err := s.Kubectl(ctx, "-n", "istio-system", "get", "service", service, "-o", "jsonpath={.status.loadBalancer.ingress[0].ip}")
	if err == nil && out == "" {
		return "", fmt.Errorf("service %s has no address yet", service)
	}
	return out, err
}

// Eventually calls check until it succeeds or limit is over. The error is the last one that
// check gave by itself, not because its time was over.
func Eventually(ctx context.Context, limit time.Duration, check func(context.Context) error) error {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		err := check(limited)
		if err == nil {
			return nil
		}
		if limited.Err() == nil || last == nil {
			last = err
		}
		select {
		case <-limited.Done():
			return fmt.Errorf("not within %s: %w", limit, last)
		case <-tick.C:
		}
	}
}

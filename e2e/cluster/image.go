package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"sigs.k8s.io/kind/pkg/apis/config/defaults"

	"github.com/sluicemesh/sluice/e2e/cluster/proc"
)

const (
	probeTimeout = 3 * time.Second
	probeValid   = 10 * time.Minute // how long an answer is believed: a laptop goes on and off line
)

// nodeImage decides on the node image and makes sure that a built one is there. A pulled one is left to kind.
func (s session) nodeImage(ctx context.Context) (image string, built bool, err error) {
	source := s.config.NodeImage
	if source == Auto {
		source = Build
		if s.pullable(ctx) {
			source = Pull
		}
	}
	if source == Pull {
		return defaults.Image, false, nil
	}
	image, err = s.builder.Build(ctx)
	return image, true, err
}

// pullable reports whether kind's own image is in the engine or in a registry that answers.
func (s session) pullable(ctx context.Context) bool {
	if _, err := proc.Output(ctx, "docker", "image", "inspect", "--format", "{{.Id}}", defaults.Image); err == nil {
		return true
	}
	if known, valid := s.probed(time.Now()); valid {
		return known
	}
	reachable := probe(ctx)
	s.out.Say("  kind's node image can be pulled: %t", reachable)
	if err := s.keepProbe(probeResult{At: time.Now(), Reachable: reachable}); err != nil {
		s.out.Say("  the answer could not be kept: %v", err) // it will be asked for again, nothing more
	}
	return reachable
}

func (s session) keepProbe(result probeResult) error {
	text, err := json.Marshal(result)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.store.Root, 0o755); err != nil {
		return err
	}
	return os.WriteFile(s.probePath(), text, 0o600)
}

type probeResult struct {
	At        time.Time `json:"at"`
	Reachable bool      `json:"reachable"`
}

func (s session) probePath() string { return filepath.Join(s.store.Root, "registry.json") }

// probed returns the last answer, if it is fresh.
func (s session) probed(now time.Time) (reachable, valid bool) {
	text, err := os.ReadFile(s.probePath())
	if err != nil {
		return false, false
	}
	var last probeResult
	if err := json.Unmarshal(text, &last); err != nil || now.Sub(last.At) > probeValid {
		return false, false
	}
	return last.Reachable, true
}

// probe asks the registry for the image's manifest: a full answer, because a proxy may answer for hosts it does not let through.
func probe(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	_, err := proc.Output(ctx, "docker", "manifest", "inspect", defaults.Image)
	return err == nil
}

// buildBalancer builds the program that deals out load balancer addresses; Go's cache makes an unchanged one free.
func (s session) buildBalancer(ctx context.Context) (file string, err error) {
	unlock, err := s.store.Lock(ctx, "balancer")
	if err != nil {
		return "", err
	}
	defer unlock()
	file = filepath.Join(s.store.Root, "balancer")
	err = s.out.Step(ctx, "build the load balancer's controller", func(ctx context.Context) error {
		return proc.Run(ctx, proc.Command{
			Args: []string{
				"go", "build", "-C", s.builder.Module, "-trimpath", "-ldflags", "-s -w", "-o", file, "./e2e/cluster/cmd/balancer",
			},
			Env: []string{"CGO_ENABLED=0", "GOOS=linux"},
		})
	})
	if err != nil {
		return "", fmt.Errorf("build balancer: %w", err)
	}
	return file, nil
}

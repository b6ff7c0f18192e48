package images

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"time"

	"github.com/sluicemesh/sluice/e2e/images/command"
)

// compile builds the programs of all recipes with one run of the go command, which leaves
// alone what is up to date, and notes their hashes.
func (b *builder) compile(ctx context.Context, recipes []recipe) error {
	var mains []string
	for _, r := range recipes {
		for _, dir := range r.programs {
			mains = append(mains, "./"+dir)
		}
	}
	b.programs = map[string]string{}
	if len(mains) == 0 {
		return nil
	}
	bin := filepath.Dir(b.programFile("any"))
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return err
	}
	start := time.Now()
	// No VCS stamp: a commit that does not change a program must not change its image.
	args := []string{
		// The tag leaves out gRPC's tracing page, and with it a third of the agent.
		"go", "build", "-trimpath", "-buildvcs=false", "-tags", "grpcnotrace",
		"-ldflags", "-s -w -X github.com/sluicemesh/sluice/internal/version.Version=" + b.Version, "-o", bin + "/",
	}
	_, err := command.Output(ctx, command.Spec{
		Dir: b.Root, Args: append(args, mains...),
		Env: []string{"CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64"},
	})
	if err != nil {
		return fmt.Errorf("compile the programs of the images: %w", err)
	}
	for _, dir := range mains {
		name := path.Base(dir)
		if b.programs[name], err = hashFile(b.programFile(name)); err != nil {
			return err
		}
	}
	if time.Since(start) > time.Second {
		b.say("compiled %d programs, %s", len(mains), took(start))
	}
	return nil
}

// programFile is where the go command puts a program. Each module directory has a folder of its
// own, so that two check-outs do not rebuild each other's.
func (b *builder) programFile(name string) string {
	sum := sha256.Sum256([]byte(b.Root))
	return filepath.Join(b.Cache, "bin", hex.EncodeToString(sum[:6]), name)
}

func hashFile(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", fmt.Errorf("read %s: %w", file, err)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

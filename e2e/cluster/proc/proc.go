// Package proc runs the programs of the host that the harness needs (go, docker, apt-get, debootstrap, ip).
//
// It must not leave a child behind when the harness dies, nor print what a successful program said. A command comes in
// as a value; its output, or an error that ends with the last lines the program wrote, goes out.
package proc

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"golang.org/x/sync/errgroup"
)

// tailLines is how much of a failed program's output an error carries: enough for a compiler's or apt's complaint.
const tailLines = 15

// Command is one program to run.
type Command struct {
	Args  []string  // program and arguments; the program is looked up on PATH
	Dir   string    // working directory; empty means the current one
	Env   []string  // "K=V" added to the environment of this process
	Stdin io.Reader // nil means empty
	Out   io.Writer // where standard output goes; nil keeps it for the error only
}

// Run runs c to its end. The program is killed when ctx ends, and by the kernel when this process is killed.
// The error names the program and ends with the last lines it wrote.
func Run(ctx context.Context, c Command) error {
	cmd := exec.CommandContext(ctx, c.Args[0], c.Args[1:]...)
	cmd.Dir, cmd.Stdin = c.Dir, c.Stdin
	cmd.Env = append(os.Environ(), c.Env...)
	var said bytes.Buffer
	cmd.Stderr = &said
	cmd.Stdout = &said
	if c.Out != nil {
		cmd.Stdout = c.Out
	}
	dieWithParent(cmd)
	var owner errgroup.Group
	owner.Go(func() error {
		// The kernel sends the death signal when the *thread* that forked ends, so it is kept until the child is gone.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		return cmd.Run()
	})
	err := owner.Wait()
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("run %s: %w", c.Args[0], ctx.Err())
	}
	return fmt.Errorf("run %s: %w%s", strings.Join(c.Args[:min(3, len(c.Args))], " "), err, tail(said.String()))
}

// Output runs a program and returns its standard output without the final newline.
func Output(ctx context.Context, args ...string) (string, error) {
	var out bytes.Buffer
	err := Run(ctx, Command{Args: args, Out: &out})
	return strings.TrimRight(out.String(), "\n"), err
}

// Has reports whether program is on PATH.
func Has(program string) bool {
	_, err := exec.LookPath(program)
	return err == nil
}

func tail(said string) string {
	said = strings.TrimSpace(said)
	if said == "" {
		return ""
	}
	lines := strings.Split(said, "\n")
	return "\n" + strings.Join(lines[max(0, len(lines)-tailLines):], "\n")
}

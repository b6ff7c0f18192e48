// Package command runs a program of the host to its end and returns what it printed. It knows
// nothing of the programs it runs; debian, envoy and images call it.
package command

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// tail is how much of a failed program's complaint goes into the error, in bytes.
const tail = 2000

// Spec says what to run.
type Spec struct {
	// Dir is the working directory; empty means the caller's.
	Dir string
	// Env is added to the caller's environment, as NAME=value.
	Env []string
	// Args is the program, found on PATH, and its arguments.
	Args []string
}

// Output runs s and returns its standard output. The error names the program and holds the end
// of what it printed on standard error; it wraps [exec.ErrNotFound] when there is no such program.
func Output(ctx context.Context, s Spec) ([]byte, error) {
	cmd := exec.CommandContext(ctx, s.Args[0], s.Args[1:]...)
	cmd.Dir = s.Dir
	cmd.Env = append(os.Environ(), s.Env...)
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		said := strings.TrimSpace(complaint.String())
		if len(said) > tail {
			said = "… " + said[len(said)-tail:]
		}
		return nil, fmt.Errorf("run %s: %w: %s", s.Args[0], err, said)
	}
	return out.Bytes(), nil
}

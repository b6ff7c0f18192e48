package xtables

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"

	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// child is one run of a program.
type child struct {
	family rule.Family
	argv   []string
	stdin  string
	stdout string // set by runAll
}

// runAll starts all programs from the calling thread, in whose namespace they act, and
// waits for all of them. The error carries what those that failed said.
func runAll(ctx context.Context, list []child) error {
	type process struct {
		cmd            *exec.Cmd
		stdout, stderr bytes.Buffer
	}
	running := make([]process, len(list))
	errs := make([]error, len(list))
	for i, c := range list {
		p := &running[i]
		p.cmd = exec.CommandContext(ctx, c.argv[0], c.argv[1:]...)
		p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = strings.NewReader(c.stdin), &p.stdout, &p.stderr
		errs[i] = p.cmd.Start()
	}
	for i := range list {
		p := &running[i]
		if errs[i] == nil {
			errs[i] = p.cmd.Wait()
		}
		list[i].stdout = p.stdout.String()
		if errs[i] != nil {
			errs[i] = fmt.Errorf("%s: %w: %s", strings.Join(list[i].argv, " "), errs[i], strings.TrimSpace(p.stderr.String()))
		}
	}
	return errors.Join(errs...)
}

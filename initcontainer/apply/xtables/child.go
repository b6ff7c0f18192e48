package xtables

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// child is one run of a program.
type child struct {
	family rule.Family
	path   string
	args   []string
	stdin  string
	stdout string // set by run
}

// run starts all programs from the calling thread, in whose namespace they act, and waits
// for all of them. The error carries what those that failed said.
func (k *Kernel) run(ctx context.Context, list []child) error {
	type process struct {
		cmd            *exec.Cmd
		stdout, stderr bytes.Buffer
	}
	running := make([]process, len(list))
	errs := make([]error, len(list))
	for i, c := range list {
		p := &running[i]
		p.cmd = exec.CommandContext(ctx, c.path, c.args...)
		p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = strings.NewReader(c.stdin), &p.stdout, &p.stderr
		if k.lockFile != "" {
			p.cmd.Env = append(os.Environ(), "XTABLES_LOCKFILE="+k.lockFile)
		}
		errs[i] = p.cmd.Start()
	}
	for i := range list {
		p := &running[i]
		if errs[i] == nil {
			errs[i] = p.cmd.Wait()
		}
		list[i].stdout = p.stdout.String()
		if errs[i] != nil {
			errs[i] = fmt.Errorf("%s: %w: %s", strings.Join(p.cmd.Args, " "), errs[i], strings.TrimSpace(p.stderr.String()))
		}
	}
	return errors.Join(errs...)
}

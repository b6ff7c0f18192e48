// Package apply puts rule sets into the kernel and reads them back, with iptables-save and
// iptables-restore, and the proxy's address onto lo, with netlink.
//
// Each load is one transaction of the kernel: on an error nothing has changed. It neither
// decides which rules are right nor checks that they came to be.
package apply

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"

	"github.com/sluicemesh/sluice/initcontainer/host"
	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// Tables is the nat table of one family, in the network namespace of the calling thread.
type Tables struct{ Tool host.Tool }

// Read lists what belongs to the interception.
func (t Tables) Read(ctx context.Context) (rule.Set, error) {
	out, err := run(ctx, t.Tool.Save, "")
	if err != nil {
		return rule.Set{}, fmt.Errorf("list %s rules: %w", t.Tool.Family, err)
	}
	set, err := rule.ParseSave(rule.Nat, out)
	if err != nil {
		return rule.Set{}, fmt.Errorf("read %s rules: %w", t.Tool.Family, err)
	}
	return set, nil
}

// Swap turns from, which must be what the kernel holds, into to. Packets meet one or the
// other, never a mixture or nothing. On an error the kernel still holds from, unless ctx
// ended: then it holds either.
func (t Tables) Swap(ctx context.Context, from, to rule.Set) error {
	text := rule.Swap(from, to)
	if text == "" {
		return nil
	}
	if _, err := run(ctx, t.Tool.Restore, text); err != nil {
		return fmt.Errorf("load %s rules: %w", t.Tool.Family, err)
	}
	return nil
}

// run executes a program and returns its standard output. The error carries what the
// program said.
func run(ctx context.Context, argv []string, stdin string) (string, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

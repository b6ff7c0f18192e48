// Package apply puts rule sets into the kernel and reads them back, with iptables-save and
// iptables-restore, and with netlink the routing of marked packets and the proxy's address
// on lo.
//
// Each load of a table is one transaction of the kernel. The package neither decides which
// rules are right nor checks that they came to be.
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

// Tables is the tables of one family, in the network namespace of the calling thread.
type Tables struct{ Tool host.Tool }

// Read lists what belongs to the interception.
func (t Tables) Read(ctx context.Context) (rule.Sets, error) {
	out, err := run(ctx, t.Tool.Save, "")
	if err != nil {
		return nil, fmt.Errorf("list %s rules: %w", t.Tool.Family, err)
	}
	sets, err := rule.ParseSave(out)
	if err != nil {
		return nil, fmt.Errorf("read %s rules: %w", t.Tool.Family, err)
	}
	return sets, nil
}

// Swap turns from, which must be what the kernel holds, into to. In each table packets meet
// one or the other, never a mixture or nothing. On an error some tables may have changed.
func (t Tables) Swap(ctx context.Context, from, to rule.Sets) error {
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

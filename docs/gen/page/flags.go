package page

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluicemesh/sluice/agent/command"
	"github.com/sluicemesh/sluice/cli"
	"github.com/sluicemesh/sluice/internal/capture"
)

// flagsPage quotes the help of each program.
func flagsPage(ctx context.Context) ([]byte, error) {
	d := begin("Command lines", "the programs' help", "The flags of the programs, as `--help` prints them.")
	d.text.WriteString("\n## sluice\n")
	root := cli.Command(cli.Config{In: strings.NewReader(""), Out: io.Discard, Err: io.Discard, Version: "VERSION", Program: "sluice"})
	root.InitDefaultHelpCmd()
	d.command(root)

	d.text.WriteString("\n## sluice-agent\n")
	for _, verb := range []string{"proxy", "wait", "request", "version"} {
		var out, complaint bytes.Buffer
		code := command.Execute(ctx, command.IO{
			Args: []string{verb, "--help"}, Stdout: &out, Stderr: &complaint, Started: time.Time{}, Version: "VERSION",
		})
		if code != 0 {
			return nil, fmt.Errorf("help of sluice-agent %s: exit code %d: %s", verb, code, complaint.String())
		}
		d.help("sluice-agent "+verb, out.String())
	}

	d.text.WriteString("\n## sluice-init\n")
	_, _, err := capture.Parse([]string{"--help"}, func(string) string { return "" })
	var help *capture.HelpRequested
	if !errors.As(err, &help) {
		return nil, fmt.Errorf("help of sluice-init: %w", err)
	}
	d.help("sluice-init", help.Usage)
	return d.bytes(), nil
}

// command adds the help of a command and of those below it.
func (d *document) command(c *cobra.Command) {
	if c.Name() == "help" || c.Name() == "completion" {
		return
	}
	c.InitDefaultHelpFlag()
	d.help(c.CommandPath(), c.Short+"\n\n"+c.UsageString())
	for _, below := range c.Commands() {
		d.command(below)
	}
}

// help adds a block of help text. Paths of this machine's user are written with ~.
func (d *document) help(title, text string) {
	if home, err := os.UserHomeDir(); err == nil && len(home) > 1 {
		text = strings.ReplaceAll(text, home, "~")
	}
	fmt.Fprintf(&d.text, "\n### %s\n\n```\n%s\n```\n", title, strings.TrimSpace(text))
}

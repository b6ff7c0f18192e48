package install

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/sluicemesh/sluice/cli/settings"
	"github.com/sluicemesh/sluice/cli/target"
	"github.com/sluicemesh/sluice/internal/problem"
)

// chosen are the flags by which a user chooses settings.
type chosen struct {
	files    []string
	sets     []string
	revision string
}

func (c *chosen) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringArrayVarP(&c.files, "filename", "f", nil, "file of settings, an IstioOperator object; - is standard input; may be repeated, the last wins")
	f.StringArrayVarP(&c.sets, "set", "s", nil, "one setting, path=value: profile=demo, values.global.proxy.logLevel=debug; may be repeated")
	f.StringVarP(&c.revision, "revision", "r", "", "revision of the control plane")
}

// empty reports whether nothing was chosen.
func (c *chosen) empty() bool { return len(c.files) == 0 && len(c.sets) == 0 }

// load reads the files and lays everything over the profile.
func (c *chosen) load(cmd *cobra.Command, t *target.Target) (settings.Settings, error) {
	request := settings.Request{Sets: c.sets, Revision: c.revision, Tag: t.Version}
	if cmd.Flags().Changed("istioNamespace") {
		request.Namespace = t.IstioNamespace
	}
	for _, name := range c.files {
		text, err := read(t, name)
		if err != nil {
			return settings.Settings{}, err
		}
		request.Files = append(request.Files, settings.File{Name: name, Text: text})
	}
	s, problems := settings.Load(request)
	return s, refuse(problems)
}

func read(t *target.Target, name string) ([]byte, error) {
	if name == "-" {
		text, err := io.ReadAll(t.In)
		if err != nil {
			return nil, fmt.Errorf("read standard input: %w", err)
		}
		return text, nil
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read settings: %w", err)
	}
	return text, nil
}

// refuse makes one error of all problems.
func refuse(problems []problem.Problem) error {
	if len(problems) == 0 {
		return nil
	}
	return errors.New(problem.Join(problems))
}

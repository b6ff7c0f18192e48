package capture

import (
	"strings"

	"github.com/spf13/pflag"
)

// Setting describes one option of sluice-init, for reference pages.
type Setting struct {
	Topic       string   // what it is about, a heading; those of one topic stand together
	Name, Short string   // of the flag, without dashes; Name is "" where there is none
	Env         []string // variables of the environment, the first that is set counts; nil for none
	Default     string   // built-in value
	Boolean     bool     // the flag may stand without a value, which is true
	Help        string   // what it does, a phrase
	Difference  string   // how it differs from Istio, a phrase; "" where it does not
}

// Settings lists all options, in the order of the help text. The result is new.
func Settings() []Setting {
	var out []Setting
	for _, s := range settings() {
		out = append(out, s.Setting)
	}
	return out
}

// setting is one option: where its value comes from and what it does.
type setting struct {
	Setting
	use func(*line, string) error
}

// effective returns the value that counts and, for messages, where it comes from.
func (s setting) effective(flags *pflag.FlagSet, env func(string) string) (value, from string) {
	if s.Name != "" {
		if f := flags.Lookup(s.Name); f.Changed {
			return f.Value.String(), "--" + s.Name
		}
	}
	for _, name := range s.Env {
		// As in Istio, an empty variable counts as unset.
		if v := env(name); v != "" {
			return v, "environment variable " + name
		}
	}
	return s.Default, s.Name
}

func flag(name, short, value, help string, use func(*line, string) error) setting {
	return setting{Setting{Name: name, Short: short, Env: []string{envName(name)}, Default: value, Help: help}, use}
}

func toggle(name, short, help string, use func(*line, string) error, alias ...string) setting {
	s := flag(name, short, "false", help, use)
	s.Boolean = true
	s.Env = append(s.Env, alias...)
	return s
}

// ours is a flag that Istio does not have. It has no variable: such names are not reserved.
func ours(name, help string, use func(*line, string) error) setting {
	return setting{Setting{Name: name, Default: "false", Boolean: true, Help: help, Difference: "not in Istio"}, use}
}

// variable is a setting without a flag.
func variable(name, value, help string, use func(*line, string) error) setting {
	return setting{Setting{Env: []string{name}, Default: value, Help: help}, use}
}

// idle is a setting without effect.
func idle(name, short, value string, env ...string) setting {
	return setting{
		Setting{Name: name, Short: short, Env: env, Default: value, Help: "accepted, no effect; another value is noted in the log"},
		func(l *line, v string) error {
			if strings.TrimSpace(v) != value {
				l.note("%s has no effect", name)
			}
			return nil
		},
	}
}

// word lets the flag stand without a value.
func (s setting) word() setting {
	s.Boolean = true
	return s
}

func (s setting) differs(from string) setting {
	s.Difference = from
	return s
}

// envName is the environment variable of a flag.
func envName(flag string) string {
	return strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

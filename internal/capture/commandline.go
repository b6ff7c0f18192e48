package capture

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// Options says what sluice-init does with a Config and how it reports.
type Options struct {
	DryRun      bool   // print what would be loaded, write nothing (-n)
	CleanupOnly bool   // take out what an earlier run wrote, whatever its settings were
	Flavour     string // "nft" or "legacy" where the user forces one, "" to detect it
	LogLevel    string // "debug", "info", "warn", "error" or "none"
	LogJSON     bool   // one JSON object a line

	SkipApply      bool          // write no rules, take out none
	Validate       bool          // find out with connections of one's own whether rules are in force
	ProbePort      uint16        // where those connections go; nothing listens there
	ProbeTimeout   time.Duration // how long they are tried, above 0
	DualStack      bool          // both address families count for Validate, not just the pod's first
	NativeNftables bool          // rules are written over netlink into tables of nftables' own
	Explain        bool          // print each rule with why it exists, write nothing

	// Notes are what the user set to no effect, one sentence each.
	Notes []string
}

// HelpRequested is the error of Parse for -h and --help. Its text is the whole usage.
type HelpRequested struct{ Usage string }

// Error is the usage text.
func (h *HelpRequested) Error() string { return h.Usage }

// Parse reads the command line of sluice-init: all flags and environment variables of
// Istio's init container, under the same names. A leading word "istio-iptables" is
// accepted, so that Args is accepted. env returns the value of a variable, "" when unset.
//
// Precedence is built-in value, then environment, then command line. What is recognised
// but not implemented is an error when it is set to anything but its built-in value, and
// so is an unparsable environment variable (Istio ignores it): capturing less than the
// user asked for, without a word, would be a leak. The error joins all mistakes.
func Parse(args []string, env func(string) string) (Config, Options, error) {
	if len(args) > 0 && args[0] == "istio-iptables" {
		args = args[1:]
	}
	table := settings()
	flags := flagSet(table)
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			return Config{}, Options{}, &HelpRequested{usage(flags)}
		}
		return Config{}, Options{}, fmt.Errorf("parse arguments: %w", err)
	}
	if flags.NArg() > 0 {
		return Config{}, Options{}, fmt.Errorf("unexpected argument %q: every setting is a flag", flags.Arg(0))
	}
	var l line
	var mistakes []error
	for _, s := range table {
		value, from := s.effective(flags, env)
		if err := s.use(&l, value); err != nil {
			mistakes = append(mistakes, fmt.Errorf("%s: %w", from, err))
		}
	}
	if len(mistakes) > 0 {
		return Config{}, Options{}, errors.Join(mistakes...)
	}
	if len(l.config.ProxyGIDs) == 0 {
		l.config.ProxyGIDs = slices.Clone(l.config.ProxyUIDs)
	}
	return l.config, l.options, l.config.Validate()
}

// Validate says why no rules can be made from c, nil when they can. It refuses what would
// leak or loop: an unknown mode, no owner to exempt, a port 0 to send to.
func (c Config) Validate() error {
	switch {
	case c.Mode == None:
		return nil
	case c.Mode != Redirect && c.Mode != TProxy:
		return fmt.Errorf("unknown interception mode %q: use REDIRECT, TPROXY or NONE", c.Mode)
	case c.OutboundPort == 0 || c.InboundPort == 0:
		return errors.New("capture port 0: nothing can listen on it")
	case c.OutboundPort == c.InboundPort:
		return fmt.Errorf("capture port %d is used for both directions: the proxy needs one each", c.InboundPort)
	case len(c.ProxyUIDs) == 0 && len(c.ProxyGIDs) == 0:
		return errors.New("no proxy UID or GID: the proxy's own traffic would be sent back to it")
	case len(c.OwnerGroups.List) > MaxGroups || len(c.OwnerGroupsExcluded) > MaxGroups:
		return fmt.Errorf("more than %d owner groups: the kernel does not take so many", MaxGroups)
	case !isLoopback(c.Loopback):
		return fmt.Errorf("loopback range %s does not lie in 127.0.0.0/8", c.Loopback)
	}
	return nil
}

func isLoopback(p netip.Prefix) bool {
	return p.IsValid() && p.Addr().Is4() && p.Addr().IsLoopback() && p.Bits() >= 8
}

// line is what Parse fills.
type line struct {
	config  Config
	options Options
}

// setting is one option: where its value comes from and what it does.
type setting struct {
	name, short string
	env         []string // names looked up in this order; nil for none
	value       string   // built-in value
	boolean     bool     // the flag may stand without a value
	envOnly     bool     // there is no flag
	help        string
	use         func(*line, string) error
}

// effective returns the value that counts and, for messages, where it comes from.
func (s setting) effective(flags *pflag.FlagSet, env func(string) string) (value, from string) {
	if !s.envOnly {
		if f := flags.Lookup(s.name); f.Changed {
			return f.Value.String(), "--" + s.name
		}
	}
	for _, name := range s.env {
		// As in Istio, an empty variable counts as unset.
		if v := env(name); v != "" {
			return v, "environment variable " + name
		}
	}
	return s.value, s.name
}

// flagSet declares every setting that has a flag. It writes nowhere.
func flagSet(table []setting) *pflag.FlagSet {
	flags := pflag.NewFlagSet("sluice-init", pflag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.SortFlags = false
	for _, s := range table {
		if s.envOnly {
			continue
		}
		flags.StringP(s.name, s.short, s.value, s.help)
		if s.boolean {
			flags.Lookup(s.name).NoOptDefVal = "true"
		}
	}
	return flags
}

func usage(flags *pflag.FlagSet) string {
	return "sluice-init sends a pod's TCP traffic through its proxy, checks that the kernel does so, and exits.\n" +
		"Every flag has an environment variable of the same name in upper case with underscores, --envoy-port excepted.\n\n" +
		"Usage: sluice-init [istio-iptables] [flags]\n\n" + flags.FlagUsages()
}

// envName is the environment variable of a flag.
func envName(flag string) string {
	return strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

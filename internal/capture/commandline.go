package capture

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/spf13/pflag"
)

// Options says what sluice-init does with a Config and how it reports.
type Options struct {
	DryRun      bool   // print what would be loaded, write nothing (-n)
	DryRunFile  string // file that a dry run also writes to, "" for none
	Explain     bool   // print each rule with why it exists, write nothing
	CleanupOnly bool   // take out what an earlier run wrote, whatever its settings were

	NativeNftables bool   // rules are written over netlink into tables of nftables' own
	Flavour        string // "nft" or "legacy" where the user forces one of iptables, "" to detect it

	// NetworkNamespace is the file of the namespace to act on, "" for one's own. CNIMode says
	// that the programs are the host's and other processes may use them for other namespaces.
	NetworkNamespace string
	CNIMode          bool

	LogLevel  string // "debug", "info", "warn", "error" or "none"
	LogJSON   bool   // one JSON object a line
	LogTarget string // "stdout" or "stderr"

	SkipApply    bool          // write no rules, take out none
	Validate     bool          // find out with connections of one's own whether rules are in force
	ProbePort    uint16        // where those connections go; nothing listens there
	ProbeTimeout time.Duration // how long they are tried, above 0
	DualStack    bool          // both address families count for Validate, not just the pod's first

	// Notes are what the user set to no effect, one sentence each.
	Notes []string
}

// HelpRequested is the error of Parse for -h and --help. Its text is the whole usage.
type HelpRequested struct{ Usage string }

// Error is the usage text.
func (h *HelpRequested) Error() string { return h.Usage }

// Names looks up the users and groups of the image that the rules are made in. It reports
// false for a name that is not there.
type Names struct {
	User, Group func(name string) (id uint32, known bool)
}

// NoNames knows no name.
func NoNames() Names {
	none := func(string) (uint32, bool) { return 0, false }
	return Names{none, none}
}

// defaultUser is whose UID is the proxy's where nothing else is configured.
const defaultUser = "istio-proxy"

// Parse is ParseWith where names of users and groups are not known.
func Parse(args []string, env func(string) string) (Config, Options, error) {
	return ParseWith(args, env, NoNames())
}

// ParseWith reads the command line of sluice-init: all flags and environment variables of
// Istio's init container, under the same names. A leading word "istio-iptables" is
// accepted, so that Args is accepted; "istio-clean-iptables" stands for --cleanup-only. env
// returns the value of a variable, "" when unset.
//
// Precedence is built-in value, then environment, then command line. An unparsable
// environment variable is an error (Istio ignores it): capturing less than the user asked
// for, without a word, would be a leak. The error joins all mistakes. What is accepted and
// has no effect is told in Options.Notes.
func ParseWith(args []string, env func(string) string, names Names) (Config, Options, error) {
	l := line{names: names}
	args, cleanup := verb(args)
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
	l.proxyIDs()
	l.contradictions()
	l.options.CleanupOnly = l.options.CleanupOnly || cleanup
	return l.config, l.options, l.config.Validate()
}

// verb takes the word off args that says which program of Istio's they are for.
func verb(args []string) (rest []string, cleanup bool) {
	if len(args) == 0 {
		return nil, false
	}
	switch args[0] {
	case "istio-iptables":
		return args[1:], false
	case "istio-clean-iptables":
		return args[1:], true
	}
	return args, false
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
	case c.Mode == TProxy && (!isMark(c.TProxyMark) || !isTable(c.TProxyTable)):
		return fmt.Errorf("packet mark %d and routing table %d: interception mode TPROXY needs one each of its own", c.TProxyMark, c.TProxyTable)
	case !isLoopback(c.Loopback):
		return fmt.Errorf("loopback range %s does not lie in 127.0.0.0/8", c.Loopback)
	}
	return nil
}

// maxMark is the highest mark for inbound connections: the next one is used, too.
const maxMark = 1<<32 - 2

func isMark(n uint32) bool { return 1 <= n && n <= maxMark }

// isTable leaves out the tables of the system: in those the route of marked packets would
// take all packets.
func isTable(n int) bool { return 1 <= n && n < 1<<31 && (n < 253 || n > 255) }

func isLoopback(p netip.Prefix) bool {
	return p.IsValid() && p.Addr().Is4() && p.Addr().IsLoopback() && p.Bits() >= 8
}

// line is what Parse fills.
type line struct {
	config  Config
	options Options
	names   Names
	user    string // name of the proxy's user
}

// flagSet declares every setting that has a flag. It writes nowhere.
func flagSet(table []setting) *pflag.FlagSet {
	flags := pflag.NewFlagSet("sluice-init", pflag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.SortFlags = false
	for _, s := range table {
		if s.Name == "" {
			continue
		}
		flags.StringP(s.Name, s.Short, s.Default, s.Help)
		if s.Boolean {
			flags.Lookup(s.Name).NoOptDefVal = "true"
		}
	}
	return flags
}

func usage(flags *pflag.FlagSet) string {
	return "sluice-init sends a pod's TCP traffic through its proxy, checks that the kernel does so, and exits.\n" +
		"Every flag has an environment variable of the same name in upper case with underscores, --envoy-port,\n" +
		"--explain and --log_* excepted.\n\n" +
		"Usage: sluice-init [istio-iptables|istio-clean-iptables] [flags]\n" +
		"       sluice-init verify [--json] [flags]\n" +
		"       sluice-init trace --to ADDRESS:PORT [--from ADDRESS[:PORT]] [--in INTERFACE | --out INTERFACE] [--udp] [--uid N] [--gid N] [--json] [flags]\n\n" +
		"verify proves that the rules in force do what a run with these flags would ask for, for every packet; trace shows the way of one.\n" +
		"Both change nothing and end with 0 if it is so, 126 if it is not, 1 if they cannot tell.\n\n" + flags.FlagUsages()
}

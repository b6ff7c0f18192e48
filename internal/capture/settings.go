package capture

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// settings lists all options of sluice-init: those that say what is captured, those that
// say what to do, those without effect, and those that are refused.
func settings() []setting {
	var all []setting
	all = append(all, captureSettings()...)
	all = append(all, narrowingSettings()...)
	all = append(all, actionSettings()...)
	all = append(all, validationSettings()...)
	all = append(all, refusedSettings()...)
	return all
}

func captureSettings() []setting {
	return []setting{
		{name: "envoy-port", short: "p", value: "15001", help: "outbound capture port",
			use: port(func(l *line) *uint16 { return &l.config.OutboundPort })},
		flag("inbound-capture-port", "z", "15006", "inbound capture port",
			port(func(l *line) *uint16 { return &l.config.InboundPort })),
		flag("inbound-tunnel-port", "e", "15008", "port that is never captured inbound",
			port(func(l *line) *uint16 { return &l.config.TunnelPort })),
		flag("proxy-uid", "u", "1337", "UIDs of the proxy, comma-separated",
			func(l *line, v string) (err error) { l.config.ProxyUIDs, err = parseOwners(v); return err }),
		flag("proxy-gid", "g", "", "GIDs of the proxy, comma-separated; the UIDs when empty",
			func(l *line, v string) (err error) { l.config.ProxyGIDs, err = parseIDs(v); return err }),
		flag("istio-inbound-interception-mode", "m", "", "REDIRECT, TPROXY or NONE; empty is REDIRECT", useMode),
		flag("istio-inbound-ports", "b", "", `local ports captured inbound, comma-separated, "*" for all, empty for none`,
			func(l *line, v string) (err error) { l.config.InboundPorts, err = ParsePorts(v); return err }),
		flag("istio-local-exclude-ports", "d", "", `local ports not captured inbound; only with -b "*"`,
			portList(func(c *Config) *[]uint16 { return &c.InboundExcludePorts })),
		flag("istio-service-cidr", "i", "", `destinations captured outbound, comma-separated CIDRs, "*" for all, empty for none`,
			func(l *line, v string) (err error) { l.config.OutboundRanges, err = ParseRanges(v); return err }),
		flag("istio-service-exclude-cidr", "x", "", "destinations not captured outbound, comma-separated CIDRs",
			func(l *line, v string) (err error) {
				l.config.OutboundExcludeRanges, err = ParsePrefixes(v)
				return err
			}),
		flag("istio-outbound-ports", "q", "", "ports captured outbound whatever the address",
			portList(func(c *Config) *[]uint16 { return &c.OutboundPorts })),
		flag("istio-local-outbound-ports-exclude", "o", "", "ports never captured outbound",
			portList(func(c *Config) *[]uint16 { return &c.OutboundExcludePorts })),
	}
}

// narrowingSettings are the settings that few pods have.
func narrowingSettings() []setting {
	return []setting{
		flag("istio-exclude-interfaces", "c", "", "interfaces left alone in both directions, comma-separated",
			interfaces(func(c *Config) *[]string { return &c.ExcludeInterfaces })),
		flag("kube-virt-interfaces", "k", "", "interfaces of guests, comma-separated: what enters by them is outbound",
			interfaces(func(c *Config) *[]string { return &c.VirtualInterfaces })),
		toggle("drop-invalid", "", "drop packets that fit no connection",
			func(l *line, v string) (err error) { l.config.DropInvalid, err = parseTruth(v); return err }, "INVALID_DROP"),
		variable("ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR", localhost, useLoopback),
		variable("ISTIO_OUTBOUND_OWNER_GROUPS", "*", useOwnerGroups),
		variable("ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE", "",
			func(l *line, v string) (err error) { l.config.OwnerGroupsExcluded, err = parseGroups(v); return err }),
	}
}

func actionSettings() []setting {
	return []setting{
		toggle("dry-run", "n", "print what would be loaded, write nothing",
			truth(func(o *Options) *bool { return &o.DryRun })),
		toggle("cleanup-only", "", "take out what an earlier run wrote",
			truth(func(o *Options) *bool { return &o.CleanupOnly })),
		flag("force-iptables-binary", "", "", "nft or legacy instead of detecting it", useFlavour),
		{name: "log_output_level", value: "info", help: "debug, info, warn, error or none; SCOPE:LEVEL is accepted", use: useLogLevel},
		{name: "log_as_json", value: "false", boolean: true, help: "log JSON lines",
			use: truth(func(o *Options) *bool { return &o.LogJSON })},
		// What these ask for is always done: a run replaces rules that differ, in one
		// transaction, and IPv6 is captured wherever the pod has it.
		toggle("reconcile", "", "always done: rules of an earlier run are replaced", ignoredTruth),
		toggle("force-apply", "", "always done: rules of an earlier run are replaced", ignoredTruth),
		// Istio's injector knows it; neither Istio's init container nor this one traces.
		variable("IPTABLES_TRACE_LOGGING", "false", noteTrace),
	}
}

// validationSettings say whether and how to find out that rules, which another program
// wrote, are in force.
func validationSettings() []setting {
	return []setting{
		toggle("skip-rule-apply", "", "write no rules",
			truth(func(o *Options) *bool { return &o.SkipApply })),
		toggle("run-validation", "", "check with connections that rules are in force; must run as the proxy's user",
			truth(func(o *Options) *bool { return &o.Validate })),
		flag("iptables-probe-port", "", "15002", "port that the check connects to; nothing listens there",
			port(func(l *line) *uint16 { return &l.options.ProbePort })),
		flag("probe-timeout", "", "5s", "how long the check is tried", useTimeout),
		toggle("dual-stack", "", "check both address families; both are always captured",
			truth(func(o *Options) *bool { return &o.DualStack }), "ISTIO_DUAL_STACK"),
	}
}

// refusedSettings are recognised so that a user learns that they have no effect, instead
// of an init container that captures something else than asked for.
func refusedSettings() []setting {
	return []setting{
		// The proxy's listeners and the rules must agree on them.
		fixed("istio-inbound-tproxy-mark", "t", "1337", "packet mark of inbound traffic; no other value is accepted"),
		fixed("istio-inbound-tproxy-route-table", "r", "133", "routing table of marked traffic; no other value is accepted"),
		refusedToggle("redirect-dns", "ISTIO_META_DNS_CAPTURE"),
		refusedToggle("capture-all-dns"),
		toggle("native-nftables", "", "not supported", func(_ *line, v string) error {
			if on, err := parseTruth(v); err != nil || !on {
				return err
			}
			return errors.New("rules are written by iptables only, into nf_tables where the kernel has it: " +
				"leave it out (chart value global.nativeNftables)")
		}),
		refusedToggle("cni-mode"),
		refused("network-namespace", "", ""),
		refused("log_target", "", "stdout"),
		refused("log_caller", "", ""),
		refused("log_stacktrace_level", "", "default:none"),
		// The image has no users to look up: the UID is given as a number.
		refusedEnv("ENVOY_USER", "istio-proxy"),
		refusedEnv("DRY_RUN_FILE_PATH", ""),
	}
}

func flag(name, short, value, help string, use func(*line, string) error) setting {
	return setting{name: name, short: short, env: []string{envName(name)}, value: value, help: help, use: use}
}

func toggle(name, short, help string, use func(*line, string) error, alias ...string) setting {
	s := flag(name, short, "false", help, use)
	s.boolean = true
	s.env = append(s.env, alias...)
	return s
}

func refused(name, short, value string) setting {
	return fixed(name, short, value, "not supported")
}

// fixed is a setting that has an effect, and one value.
func fixed(name, short, value, help string) setting {
	return flag(name, short, value, help, func(_ *line, v string) error {
		return refuseUnless(value, v)
	})
}

func refusedToggle(name string, alias ...string) setting {
	return toggle(name, "", "not supported", func(_ *line, v string) error {
		on, err := parseTruth(v)
		if err != nil {
			return err
		}
		return refuseUnless("false", strconv.FormatBool(on))
	}, alias...)
}

// variable is a setting without a flag.
func variable(name, value string, use func(*line, string) error) setting {
	return setting{name: name, env: []string{name}, value: value, envOnly: true, use: use}
}

func refusedEnv(name, value string) setting {
	return variable(name, value, func(_ *line, v string) error { return refuseUnless(value, v) })
}

func refuseUnless(value, got string) error {
	if strings.TrimSpace(got) == value {
		return nil
	}
	return fmt.Errorf("value %q is not supported: leave the setting out or at %q", got, value)
}

func port(field func(*line) *uint16) func(*line, string) error {
	return func(l *line, v string) error {
		n, err := strconv.ParseUint(strings.TrimSpace(v), 10, 16)
		if err != nil || n == 0 {
			return fmt.Errorf("%q is not a port, write a number from 1 to 65535", v)
		}
		*field(l) = uint16(n)
		return nil
	}
}

func portList(field func(*Config) *[]uint16) func(*line, string) error {
	return func(l *line, v string) (err error) {
		*field(&l.config), err = ParsePortList(v)
		return err
	}
}

func interfaces(field func(*Config) *[]string) func(*line, string) error {
	return func(l *line, v string) (err error) {
		*field(&l.config), err = ParseInterfaces(v)
		return err
	}
}

func truth(field func(*Options) *bool) func(*line, string) error {
	return func(l *line, v string) (err error) {
		*field(&l.options), err = parseTruth(v)
		return err
	}
}

func ignoredTruth(_ *line, v string) error {
	_, err := parseTruth(v)
	return err
}

func parseTruth(v string) (bool, error) {
	on, err := strconv.ParseBool(v)
	if err != nil {
		return false, fmt.Errorf("%q is neither true nor false", v)
	}
	return on, nil
}

func useMode(l *line, v string) error {
	l.config.Mode = Mode(v)
	if v == "" {
		l.config.Mode = Redirect
	}
	return nil // Validate judges it
}

func useLoopback(l *line, v string) error {
	p, err := netip.ParsePrefix(strings.TrimSpace(v))
	if err != nil || !isLoopback(p) {
		return fmt.Errorf("%q is not a loopback range, write one within 127.0.0.0/8", v)
	}
	l.config.Loopback = p.Masked()
	return nil
}

func useOwnerGroups(l *line, v string) (err error) {
	if strings.TrimSpace(v) == "*" {
		l.config.OwnerGroups = Groups{All: true}
		return nil
	}
	l.config.OwnerGroups.List, err = parseGroups(v)
	return err
}

func useTimeout(l *line, v string) error {
	d, err := time.ParseDuration(strings.TrimSpace(v))
	if err != nil || d <= 0 {
		return fmt.Errorf("%q is not a duration above 0, write one such as 5s", v)
	}
	l.options.ProbeTimeout = d
	return nil
}

func noteTrace(l *line, v string) error {
	if on, err := strconv.ParseBool(v); err == nil && on {
		l.options.Notes = append(l.options.Notes, "IPTABLES_TRACE_LOGGING has no effect: packets are not traced")
	}
	return nil
}

func useFlavour(l *line, v string) error {
	if v != "" && v != "nft" && v != "legacy" {
		return fmt.Errorf("%q is not a flavour of iptables, write nft or legacy", v)
	}
	l.options.Flavour = v
	return nil
}

// useLogLevel reads Istio's "scope:level,scope:level": the level of all scopes, or of the
// default one, counts; scopes of other programs are no mistake.
func useLogLevel(l *line, v string) error {
	l.options.LogLevel = "info"
	for word := range strings.SplitSeq(v, ",") {
		scope, level, scoped := strings.Cut(strings.TrimSpace(word), ":")
		if !scoped {
			scope, level = "all", scope
		}
		switch level {
		case "debug", "info", "warn", "error", "none":
		case "fatal": // nothing of this program is worse than an error
			level = "error"
		default:
			return fmt.Errorf("%q is not a log level, write debug, info, warn, error or none", level)
		}
		if scope == "all" || scope == "default" {
			l.options.LogLevel = level
		}
	}
	return nil
}

// parseOwners is parseIDs where nothing means the default proxy.
func parseOwners(s string) ([]uint32, error) {
	ids, err := parseIDs(s)
	if err == nil && len(ids) == 0 {
		ids = []uint32{DefaultProxyID}
	}
	return ids, err
}

// parseGroups is parseIDs with a word on names, which Istio hands to iptables.
func parseGroups(s string) ([]uint32, error) {
	ids, err := parseIDs(s)
	if err != nil {
		return nil, fmt.Errorf("%w; write groups as numbers: the image of this program does not know your images' names", err)
	}
	return ids, nil
}

func parseIDs(s string) ([]uint32, error) {
	return parseList(s, func(word string) (uint32, error) {
		// The highest number means "no user" to the kernel.
		n, err := strconv.ParseUint(word, 10, 32)
		if err != nil || n == 1<<32-1 {
			return 0, fmt.Errorf("%q is not a user or group number", word)
		}
		return uint32(n), nil
	})
}

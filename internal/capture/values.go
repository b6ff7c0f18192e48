package capture

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

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
	on, err := strconv.ParseBool(strings.TrimSpace(v))
	if err != nil {
		return false, fmt.Errorf("%q is neither true nor false", v)
	}
	return on, nil
}

func useMode(l *line, v string) (err error) {
	l.config.Mode, err = ParseMode(cmp.Or(v, string(Redirect)))
	return err
}

func useLoopback(l *line, v string) error {
	p, err := netip.ParsePrefix(strings.TrimSpace(v))
	if err != nil || !isLoopback(p) {
		return fmt.Errorf("%q is not a loopback range, write one within 127.0.0.0/8", v)
	}
	l.config.Loopback = p.Masked()
	return nil
}

func useMark(l *line, v string) error {
	word, base := strings.TrimSpace(v), 10
	if digits, ok := strings.CutPrefix(word, "0x"); ok {
		word, base = digits, 16
	}
	n, err := strconv.ParseUint(word, base, 32)
	if err != nil || !isMark(uint32(n)) {
		return fmt.Errorf("%q is not a packet mark, write a number from 1 to %d", v, uint32(maxMark))
	}
	l.config.TProxyMark = uint32(n)
	return nil
}

func useTable(l *line, v string) error {
	n, err := strconv.ParseInt(strings.TrimSpace(v), 10, 32)
	if err != nil || !isTable(int(n)) {
		return fmt.Errorf("%q is not a routing table of one's own, write a number from 1, not 253 to 255", v)
	}
	l.config.TProxyTable = int(n)
	return nil
}

func useOwnerGroups(l *line, v string) (err error) {
	if strings.TrimSpace(v) == "*" {
		l.config.OwnerGroups = Groups{All: true}
		return nil
	}
	l.config.OwnerGroups.List, err = l.parseGroups(v)
	return err
}

func useGroupsExcluded(l *line, v string) (err error) {
	l.config.OwnerGroupsExcluded, err = l.parseGroups(v)
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

func useFlavour(l *line, v string) error {
	if v != "" && v != "nft" && v != "legacy" {
		return fmt.Errorf("%q is not a flavour of iptables, write nft or legacy", v)
	}
	l.options.Flavour = v
	return nil
}

func useLogTarget(l *line, v string) error {
	if v != "stdout" && v != "stderr" {
		l.note("log_target %q has no effect: logs go to stdout or stderr", v)
		v = "stdout"
	}
	l.options.LogTarget = v
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

// proxyIDs fills in who the proxy is where no option says it.
func (l *line) proxyIDs() {
	if len(l.config.ProxyUIDs) == 0 {
		id, known := l.names.User(l.user)
		if !known {
			id = DefaultProxyID
			if l.user != defaultUser {
				l.note("ENVOY_USER has no effect: there is no user %q here, the proxy is user %d", l.user, id)
			}
		}
		l.config.ProxyUIDs = []uint32{id}
	}
	if len(l.config.ProxyGIDs) == 0 {
		l.config.ProxyGIDs = slices.Clone(l.config.ProxyUIDs)
	}
}

// contradictions notes what has no effect beside other settings.
func (l *line) contradictions() {
	if l.config.CaptureAllDNS && !l.config.RedirectDNS {
		l.note("capture-all-dns has no effect: redirect-dns is not set")
	}
	if l.options.NativeNftables && l.options.Flavour != "" {
		l.note("force-iptables-binary has no effect: native-nftables uses no program")
	}
	if !l.config.OwnerGroups.All && len(l.config.OwnerGroupsExcluded) > 0 {
		l.note("ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE has no effect: ISTIO_OUTBOUND_OWNER_GROUPS lists whom to capture")
	}
}

func (l *line) note(format string, args ...any) {
	l.options.Notes = append(l.options.Notes, fmt.Sprintf(format, args...))
}

// parseGroups reads groups by number, or by a name that is known where the rules are made.
func (l *line) parseGroups(s string) ([]uint32, error) {
	return parseList(s, func(word string) (uint32, error) {
		if id, err := parseID(word); err == nil {
			return id, nil
		}
		if id, known := l.names.Group(word); known {
			return id, nil
		}
		return 0, fmt.Errorf("no group %q in the init container's image, write its number", word)
	})
}

func parseIDs(s string) ([]uint32, error) {
	return parseList(s, parseID)
}

func parseID(word string) (uint32, error) {
	// The highest number means "no user" to the kernel.
	n, err := strconv.ParseUint(word, 10, 32)
	if err != nil || n == 1<<32-1 {
		return 0, fmt.Errorf("%q is not a user or group number", word)
	}
	return uint32(n), nil
}

package capture

import "slices"

// settings lists all options of sluice-init, in the order of the help text.
func settings() []setting {
	return slices.Concat(
		about("What is captured", captureSettings()),
		about("What is captured, in few pods", narrowingSettings()),
		about("Mode TPROXY", tproxySettings()),
		about("DNS", dnsSettings()),
		about("What to do", actionSettings()),
		about("For whom", placeSettings()),
		about("The check of rules that another program wrote", validationSettings()),
		about("Log", reportSettings()),
		about("Without effect", idleSettings()),
	)
}

// about gives settings their topic.
func about(topic string, list []setting) []setting {
	for i := range list {
		list[i].Topic = topic
	}
	return list
}

func captureSettings() []setting {
	return []setting{
		{Setting: Setting{Name: "envoy-port", Short: "p", Default: "15001", Help: "outbound capture port"},
			use: port(func(l *line) *uint16 { return &l.config.OutboundPort })},
		flag("inbound-capture-port", "z", "15006", "inbound capture port",
			port(func(l *line) *uint16 { return &l.config.InboundPort })),
		flag("inbound-tunnel-port", "e", "15008", "port that is never captured inbound",
			port(func(l *line) *uint16 { return &l.config.TunnelPort })).
			differs("left alone with TPROXY, too, where Istio captures it"),
		flag("proxy-uid", "u", "", "UIDs of the proxy, comma-separated; when empty that of user $ENVOY_USER, else 1337",
			func(l *line, v string) (err error) { l.config.ProxyUIDs, err = parseIDs(v); return err }).
			differs("several IDs are alike, each is the proxy; in Istio only the first may call its own pod through the proxy"),
		flag("proxy-gid", "g", "", "GIDs of the proxy, comma-separated; the UIDs when empty",
			func(l *line, v string) (err error) { l.config.ProxyGIDs, err = parseIDs(v); return err }).
			differs("a process with the GID alone is the proxy over lo, too"),
		flag("istio-inbound-interception-mode", "m", "", "REDIRECT, TPROXY or NONE; empty is REDIRECT", useMode).
			differs("another word is an error; in Istio it is REDIRECT"),
		flag("istio-inbound-ports", "b", "", `local ports captured inbound, comma-separated, "*" for all, empty for none`,
			func(l *line, v string) (err error) { l.config.InboundPorts, err = ParsePorts(v); return err }),
		flag("istio-local-exclude-ports", "d", "", `local ports not captured inbound; only with -b "*"`,
			portList(func(c *Config) *[]uint16 { return &c.InboundExcludePorts })),
		flag("istio-service-cidr", "i", "", `destinations captured outbound, comma-separated CIDRs, "*" for all, empty for none`,
			func(l *line, v string) (err error) { l.config.OutboundRanges, err = ParseRanges(v); return err }).
			differs("an address without a length is taken as that address; a loopback range opens lo for its own family only"),
		flag("istio-service-exclude-cidr", "x", "", "destinations not captured outbound, comma-separated CIDRs",
			func(l *line, v string) (err error) {
				l.config.OutboundExcludeRanges, err = ParsePrefixes(v)
				return err
			}).differs("holds for what enters by -k interfaces, too"),
		flag("istio-outbound-ports", "q", "", "ports captured outbound whatever the address",
			portList(func(c *Config) *[]uint16 { return &c.OutboundPorts })),
		flag("istio-local-outbound-ports-exclude", "o", "", "ports never captured outbound",
			portList(func(c *Config) *[]uint16 { return &c.OutboundExcludePorts })).
			differs("holds for what enters by -k interfaces, too"),
	}
}

// narrowingSettings are the settings that few pods have.
func narrowingSettings() []setting {
	return []setting{
		flag("istio-exclude-interfaces", "c", "", "interfaces left alone in both directions, comma-separated",
			interfaces(func(c *Config) *[]string { return &c.ExcludeInterfaces })),
		flag("kube-virt-interfaces", "k", "", "interfaces of guests, comma-separated: what enters by them is outbound",
			interfaces(func(c *Config) *[]string { return &c.VirtualInterfaces })).
			differs("a warning where nothing outbound is captured, so that the option only exempts the interfaces inbound"),
		toggle("drop-invalid", "", "drop packets that fit no connection",
			func(l *line, v string) (err error) { l.config.DropInvalid, err = parseTruth(v); return err }, "INVALID_DROP").
			differs("excluded interfaces are left alone; of every protocol with nftables, too, where Istio drops TCP only"),
		variable("ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR", localhost, "what the proxy reaches directly over lo, within 127.0.0.0/8", useLoopback).
			differs("the check of --run-validation works with every value"),
		variable("ISTIO_OUTBOUND_OWNER_GROUPS", "*", `groups whose processes are captured outbound, names or numbers, at most 64; "*" for all`, useOwnerGroups),
		variable("ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE", "", "groups whose processes are not; only with all groups", useGroupsExcluded),
	}
}

func tproxySettings() []setting {
	return []setting{
		flag("istio-inbound-tproxy-mark", "t", "1337", "packet mark of inbound connections; the mesh's listeners use 1337", useMark).
			differs("its successor marks the proxy's calls to its own pod, where Istio takes 1338 for any value"),
		flag("istio-inbound-tproxy-route-table", "r", "133", "routing table of marked packets", useTable).
			differs("the tables of the system, 253 to 255, are refused"),
	}
}

func dnsSettings() []setting {
	return []setting{
		toggle("redirect-dns", "", "send DNS queries, UDP and TCP, to the agent: those to the servers of /etc/resolv.conf",
			func(l *line, v string) (err error) { l.config.RedirectDNS, err = parseTruth(v); return err }, "ISTIO_META_DNS_CAPTURE"),
		toggle("capture-all-dns", "", "with --redirect-dns, all DNS queries wherever they go",
			func(l *line, v string) (err error) { l.config.CaptureAllDNS, err = parseTruth(v); return err }),
	}
}

func actionSettings() []setting {
	return []setting{
		toggle("dry-run", "n", "print what would be loaded, write nothing",
			truth(func(o *Options) *bool { return &o.DryRun })).
			differs("of either backend, with the commands for routes"),
		variable("DRY_RUN_FILE_PATH", "", "file that a dry run also writes what it prints to",
			func(l *line, v string) error { l.options.DryRunFile = v; return nil }),
		ours("explain", "print each rule with why it exists and for which option, write nothing",
			truth(func(o *Options) *bool { return &o.Explain })),
		toggle("cleanup-only", "", "take out what an earlier run wrote",
			truth(func(o *Options) *bool { return &o.CleanupOnly })).
			differs("whatever the settings of that run were, routes and addresses included"),
		toggle("native-nftables", "", "write rules to tables of nftables' own, without iptables",
			truth(func(o *Options) *bool { return &o.NativeNftables })).
			differs("over netlink: no program is needed in the image"),
		flag("force-iptables-binary", "", "", "nft or legacy instead of detecting it", useFlavour),
		// What these ask for is always done: a run replaces rules that differ, in one
		// transaction, and IPv6 is captured wherever the pod has it.
		toggle("reconcile", "", "always done: rules of an earlier run are replaced", ignoredTruth).
			differs("always done, without a moment in which packets are dropped"),
		toggle("force-apply", "", "always done: rules of an earlier run are replaced", ignoredTruth).
			differs("always done; in Istio it fails where chains of that name exist"),
	}
}

// placeSettings say where to act and whom to take for the proxy.
func placeSettings() []setting {
	return []setting{
		toggle("cni-mode", "", "act for another network namespace, with the programs of the host",
			truth(func(o *Options) *bool { return &o.CNIMode })),
		flag("network-namespace", "", "", "file of the network namespace to act on; empty is one's own",
			func(l *line, v string) error { l.options.NetworkNamespace = v; return nil }).
			differs("entered; in Istio it only names the lock of the tables"),
		variable("ENVOY_USER", "istio-proxy", "user whose UID is the proxy's where --proxy-uid is empty",
			func(l *line, v string) error { l.user = v; return nil }).
			differs("a warning where the image has no such user and 1337 is taken"),
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
			truth(func(o *Options) *bool { return &o.DualStack }), "ISTIO_DUAL_STACK").
			differs("only for the check: a pod with addresses of both families is captured in both"),
	}
}

func reportSettings() []setting {
	return []setting{
		{Setting: Setting{Name: "log_output_level", Default: "info", Help: "debug, info, warn, error or none; SCOPE:LEVEL is accepted"}, use: useLogLevel},
		{Setting: Setting{Name: "log_as_json", Default: "false", Boolean: true, Help: "log JSON lines"},
			use: truth(func(o *Options) *bool { return &o.LogJSON })},
		{Setting: Setting{Name: "log_target", Default: "stdout", Help: "stdout or stderr"}, use: useLogTarget},
	}
}

// idleSettings are accepted because arguments of Istio's init container may have them, of
// one version or another. A value other than the built-in one is noted.
func idleSettings() []setting {
	return []setting{
		idle("log_caller", "", ""),
		idle("log_stacktrace_level", "", "default:none"),
		idle("log_rotate", "", ""),
		idle("log_rotate_max_age", "", "30"),
		idle("log_rotate_max_backups", "", "1000"),
		idle("log_rotate_max_size", "", "104857600"),
		idle("iptables-version", "", ""),
		idle("restore-format", "f", "true").word(),
		idle("iptables-trace-logging", "", "false", "IPTABLES_TRACE_LOGGING").word(),
	}
}

package host

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// Tables lists the tables that a flavour of iptables has for family f in the network
// namespace of the calling thread. Unlike running a program of that flavour, asking does
// not create them. A kernel without the flavour has none.
//
// The error says so where the capability NET_ADMIN is missing.
func Tables(f rule.Family, flavour Flavour) ([]rule.Table, error) {
	if flavour == Legacy {
		return legacyTables(f)
	}
	return nftTables(f)
}

// legacyTables reads the kernel's own list; tables come to be when first asked for.
func legacyTables(f rule.Family) ([]rule.Table, error) {
	file := "/proc/thread-self/net/ip_tables_names"
	if f == rule.IPv6 {
		file = "/proc/thread-self/net/ip6_tables_names"
	}
	names, err := os.ReadFile(file)
	switch {
	case errors.Is(err, os.ErrNotExist): // no module of this flavour is loaded
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("list legacy %s tables: %w", f, err)
	}
	var out []rule.Table
	for name := range strings.FieldsSeq(string(names)) {
		out = append(out, rule.Table(name))
	}
	return out, nil
}

// The parts of a request for the tables of nf_tables.
const (
	getTables    = unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETTABLE
	headerLength = 4 // struct nfgenmsg before the attributes
	typeMask     = 1<<14 - 1
)

// nftTables asks nf_tables for the tables that iptables would use. A table of the same
// name that another program made counts, too: iptables would write to it.
func nftTables(f rule.Family) ([]rule.Table, error) {
	family := byte(unix.NFPROTO_IPV4)
	if f == rule.IPv6 {
		family = unix.NFPROTO_IPV6
	}
	req := nl.NewNetlinkRequest(getTables, unix.NLM_F_DUMP)
	req.AddRawData([]byte{family, unix.NFNETLINK_V0, 0, 0})
	answers, err := req.Execute(unix.NETLINK_NETFILTER, 0)
	switch {
	case errors.Is(err, unix.EPERM):
		return nil, fmt.Errorf("list tables of nf_tables: %w: the container needs the capability NET_ADMIN", err)
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EPROTONOSUPPORT):
		return nil, nil // the kernel has no nf_tables
	case err != nil:
		return nil, fmt.Errorf("list tables of nf_tables: %w", err)
	}
	var out []rule.Table
	for _, answer := range answers {
		attributes, err := nl.ParseRouteAttr(answer[headerLength:])
		if err != nil {
			return nil, fmt.Errorf("list tables of nf_tables: %w", err)
		}
		for _, a := range attributes {
			if a.Attr.Type&typeMask == unix.NFTA_TABLE_NAME {
				out = append(out, rule.Table(unix.ByteSliceToString(a.Value)))
			}
		}
	}
	return out, nil
}

// InUse reports whether a flavour has a table that interception uses.
func InUse(f rule.Family, flavour Flavour) (bool, error) {
	tables, err := Tables(f, flavour)
	return slices.ContainsFunc(tables, func(t rule.Table) bool { return slices.Contains(rule.Tables(), t) }), err
}

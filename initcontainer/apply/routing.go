package apply

import (
	"fmt"
	"net"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// Routing makes packets with a mark belong to this host, whatever their address is: a rule
// that looks them up in a table, and a route there that takes all of them.
type Routing struct {
	Family rule.Family
	Mark   uint32
	Table  int
}

// In reports whether the calling thread's namespace has both the rule and the route.
func (r Routing) In() (bool, error) {
	rules, err := r.rules()
	if err != nil {
		return false, err
	}
	routes, err := r.routes()
	return len(rules) > 0 && len(routes) > 0, err
}

// Add puts in what is missing. (The kernel would take a second rule like the first.)
func (r Routing) Add() error {
	lo, err := netlink.LinkByName(rule.Lo)
	if err != nil {
		return fmt.Errorf("find interface lo: %w", err)
	}
	route := netlink.Route{
		Family: r.family(), Table: r.Table, Type: unix.RTN_LOCAL, Scope: netlink.SCOPE_HOST,
		LinkIndex: lo.Attrs().Index, Dst: r.everywhere(),
	}
	// The route first: without it, packets that the rule takes would find none.
	if err := netlink.RouteReplace(&route); err != nil {
		return fmt.Errorf("add %s route to table %d: %w", r.Family, r.Table, err)
	}
	present, err := r.rules()
	if err != nil || len(present) > 0 {
		return err
	}
	if err := netlink.RuleAdd(r.rule()); err != nil {
		return fmt.Errorf("add %s rule for mark %d: %w", r.Family, r.Mark, err)
	}
	return nil
}

// Remove takes out what is there, as often as it is.
func (r Routing) Remove() error {
	rules, err := r.rules()
	if err != nil {
		return err
	}
	for range rules {
		if err := netlink.RuleDel(r.rule()); err != nil {
			return fmt.Errorf("remove %s rule for mark %d: %w", r.Family, r.Mark, err)
		}
	}
	routes, err := r.routes()
	if err != nil {
		return err
	}
	for i := range routes {
		if err := netlink.RouteDel(&routes[i]); err != nil {
			return fmt.Errorf("remove %s route from table %d: %w", r.Family, r.Table, err)
		}
	}
	return nil
}

// RoutingsOf lists what is there for a mark, whatever the table.
func RoutingsOf(f rule.Family, mark uint32) ([]Routing, error) {
	filter := netlink.NewRule()
	filter.Family, filter.Mark = Routing{Family: f}.family(), mark
	list, err := netlink.RuleListFiltered(filter.Family, filter, netlink.RT_FILTER_MARK)
	if err != nil {
		return nil, fmt.Errorf("list %s routing rules for mark %d: %w", f, mark, err)
	}
	var out []Routing
	for _, l := range list {
		r := Routing{Family: f, Mark: mark, Table: l.Table}
		in, err := r.In()
		if err != nil {
			return nil, err
		}
		if in && !slices.Contains(out, r) {
			out = append(out, r)
		}
	}
	return out, nil
}

func (r Routing) family() int {
	if r.Family == rule.IPv6 {
		return netlink.FAMILY_V6
	}
	return netlink.FAMILY_V4
}

func (r Routing) everywhere() *net.IPNet {
	size := net.IPv4len
	if r.Family == rule.IPv6 {
		size = net.IPv6len
	}
	return &net.IPNet{IP: make(net.IP, size), Mask: make(net.IPMask, size)}
}

func (r Routing) rule() *netlink.Rule {
	out := netlink.NewRule()
	out.Family, out.Mark, out.Table = r.family(), r.Mark, r.Table
	return out
}

// rules lists those that look up the mark in the table.
func (r Routing) rules() ([]netlink.Rule, error) {
	list, err := netlink.RuleListFiltered(r.family(), r.rule(), netlink.RT_FILTER_TABLE|netlink.RT_FILTER_MARK)
	if err != nil {
		return nil, fmt.Errorf("list %s routing rules: %w", r.Family, err)
	}
	// One with further conditions is somebody else's.
	return slices.DeleteFunc(list, func(l netlink.Rule) bool {
		return l.Invert || l.Mask != nil && *l.Mask != 1<<32-1 || l.Src != nil || l.Dst != nil || l.IifName != "" || l.OifName != ""
	}), nil
}

// routes lists those of the table that take everything for this host.
func (r Routing) routes() ([]netlink.Route, error) {
	list, err := netlink.RouteListFiltered(r.family(), &netlink.Route{Table: r.Table}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return nil, fmt.Errorf("list %s routes of table %d: %w", r.Family, r.Table, err)
	}
	return slices.DeleteFunc(list, func(l netlink.Route) bool {
		ones := 0
		if l.Dst != nil {
			ones, _ = l.Dst.Mask.Size()
		}
		return l.Type != unix.RTN_LOCAL || ones != 0
	}), nil
}

package apply

import (
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sluicemesh/sluice/initcontainer/host"
	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// Routing makes packets with a mark belong to this host, whatever their address is: a rule
// that looks them up in a table, and a route there that takes all of them.
type Routing struct {
	Family rule.Family
	Mark   uint32
	Table  int
}

// Find lists what there is of routings of family f by one of the marks, in whatever table.
// One of which only the rule or only the route is there is partial, and so is a route in
// one of the tables to which no rule leads.
func Find(h *netlink.Handle, f rule.Family, marks []uint32, tables []int) (whole, partial []Routing, err error) {
	rules, err := h.RuleList(familyNumber(f))
	if err != nil {
		return nil, nil, fmt.Errorf("list %s routing rules: %w", f, err)
	}
	var found []Routing
	for _, l := range rules {
		r := Routing{Family: f, Mark: l.Mark, Table: l.Table}
		if slices.Contains(marks, l.Mark) && plain(l) && !slices.Contains(found, r) {
			found = append(found, r)
		}
	}
	for _, r := range found {
		routes, err := r.routes(h)
		switch {
		case err != nil:
			return nil, nil, err
		case len(routes) > 0:
			whole = append(whole, r)
		case slices.Contains(tables, r.Table):
			partial = append(partial, r)
		}
	}
	for _, t := range tables {
		r := Routing{Family: f, Mark: marks[0], Table: t}
		if slices.ContainsFunc(found, func(r Routing) bool { return r.Table == t }) {
			continue
		}
		routes, err := r.routes(h)
		if err != nil {
			return nil, nil, err
		}
		if len(routes) > 0 {
			partial = append(partial, r)
		}
	}
	return whole, partial, nil
}

// plain reports whether a rule has no condition but the mark. One with further ones is
// somebody else's.
func plain(l netlink.Rule) bool {
	return l.Mark != 0 && !l.Invert && (l.Mask == nil || *l.Mask == 1<<32-1) && l.Src == nil && l.Dst == nil && l.IifName == "" && l.OifName == ""
}

// Add puts in what is missing. (The kernel would take a second rule like the first.)
func (r Routing) Add(h *netlink.Handle) error {
	route := netlink.Route{
		Family: familyNumber(r.Family), Table: r.Table, Type: unix.RTN_LOCAL, Scope: netlink.SCOPE_HOST,
		LinkIndex: host.LoIndex, Dst: r.everywhere(),
	}
	// The route first: without it, packets that the rule takes would find none.
	if err := h.RouteReplace(&route); err != nil {
		return fmt.Errorf("add %s route to table %d: %w", r.Family, r.Table, err)
	}
	present, err := r.rules(h)
	if err != nil || present > 0 {
		return err
	}
	if err := h.RuleAdd(r.rule()); err != nil {
		return fmt.Errorf("add %s rule for mark %d: %w", r.Family, r.Mark, err)
	}
	return nil
}

// Remove takes out what is there, as often as it is.
func (r Routing) Remove(h *netlink.Handle) error {
	rules, err := r.rules(h)
	if err != nil {
		return err
	}
	for range rules {
		if err := h.RuleDel(r.rule()); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("remove %s rule for mark %d: %w", r.Family, r.Mark, err)
		}
	}
	routes, err := r.routes(h)
	if err != nil {
		return err
	}
	for i := range routes {
		if err := h.RouteDel(&routes[i]); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("remove %s route from table %d: %w", r.Family, r.Table, err)
		}
	}
	return nil
}

func familyNumber(f rule.Family) int {
	if f == rule.IPv6 {
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
	out.Family, out.Mark, out.Table = familyNumber(r.Family), r.Mark, r.Table
	return out
}

// rules counts those that look up the mark in the table.
func (r Routing) rules(h *netlink.Handle) (int, error) {
	list, err := h.RuleListFiltered(familyNumber(r.Family), r.rule(), netlink.RT_FILTER_TABLE|netlink.RT_FILTER_MARK)
	if err != nil {
		return 0, fmt.Errorf("list %s routing rules: %w", r.Family, err)
	}
	return len(slices.DeleteFunc(list, func(l netlink.Rule) bool { return !plain(l) })), nil
}

// routes lists those of the table that take everything for this host.
func (r Routing) routes(h *netlink.Handle) ([]netlink.Route, error) {
	list, err := h.RouteListFiltered(familyNumber(r.Family), &netlink.Route{Table: r.Table}, netlink.RT_FILTER_TABLE)
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

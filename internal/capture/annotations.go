package capture

import (
	"fmt"

	"github.com/sluicemesh/sluice/internal/meta"
)

// Mistake is an annotation that cannot be read.
type Mistake struct {
	Key string // the annotation's
	Err error  // joins all mistakes in its value; says what to write instead
}

// Annotated lays the annotations that select traffic over c: those for which get returns
// true. Others leave their field as it is. With a Mistake for each that cannot be read the
// result is not to be used. InboundExcludePorts gets what the annotation says, without the
// proxy's own ports. The interception mode is not among them, see ParseMode.
//
// The injector and the network plugin read the annotations with it, so that they agree.
func (c Config) Annotated(get func(key string) (string, bool)) (Config, []Mistake) {
	a := annotated{get: get}
	read(&a, meta.IncludeOutboundIPRanges, ParseRanges, &c.OutboundRanges)
	read(&a, meta.ExcludeOutboundIPRanges, ParsePrefixes, &c.OutboundExcludeRanges)
	read(&a, meta.IncludeInboundPorts, ParsePorts, &c.InboundPorts)
	read(&a, meta.IncludeOutboundPorts, ParsePortList, &c.OutboundPorts)
	read(&a, meta.ExcludeOutboundPorts, ParsePortList, &c.OutboundExcludePorts)
	read(&a, meta.ExcludeInboundPorts, ParsePortList, &c.InboundExcludePorts)
	read(&a, meta.ExcludeInterfaces, ParseInterfaces, &c.ExcludeInterfaces)
	read(&a, meta.KubevirtInterfaces, ParseInterfaces, &c.VirtualInterfaces)
	read(&a, meta.VirtualInterfaces, ParseInterfaces, &c.VirtualInterfaces)
	return c, a.mistakes
}

// annotated gathers mistakes.
type annotated struct {
	get      func(key string) (string, bool)
	mistakes []Mistake
}

// read parses one annotation into field, if it is present and can be read.
func read[T any](a *annotated, key string, parse func(string) (T, error), field *T) {
	text, ok := a.get(key)
	if !ok {
		return
	}
	v, err := parse(text)
	if err != nil {
		a.mistakes = append(a.mistakes, Mistake{key, err})
	}
	*field = v
}

// ParseMode reads an interception mode.
func ParseMode(s string) (Mode, error) {
	switch m := Mode(s); m {
	case Redirect, TProxy, None:
		return m, nil
	}
	return "", fmt.Errorf("%q is not an interception mode, write REDIRECT, TPROXY or NONE", s)
}

// Owners returns the ids by which the kernel tells the traffic of a proxy apart that runs
// as uid and gid. Id 0 cannot serve, since other processes run as root; in its place stands
// the usual id, and the other one of the two tells the proxy apart. It is an error if both
// are 0, or if one is no id.
func Owners(uid, gid int64) (uids, gids []uint32, err error) {
	const most = 1<<32 - 2 // the highest number means "no user" to the kernel
	if uid < 0 || uid > most || gid < 0 || gid > most {
		return nil, nil, fmt.Errorf("runAsUser and runAsGroup must lie between 0 and %d", int64(most))
	}
	user, group := uint32(uid), uint32(gid)
	switch {
	case user == 0 && group == 0:
		return nil, nil, fmt.Errorf("a proxy that runs as user 0 and group 0 cannot be told apart from other processes: "+
			"set runAsGroup to %d", DefaultProxyID)
	case user == 0:
		user = DefaultProxyID
	case group == 0:
		group = user
	}
	if user == group {
		ids := []uint32{user}
		return ids, ids, nil
	}
	return []uint32{user}, []uint32{group}, nil
}

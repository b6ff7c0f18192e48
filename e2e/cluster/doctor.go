package cluster

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"

	"github.com/sluicemesh/sluice/e2e/cluster/capability"
	"github.com/sluicemesh/sluice/e2e/cluster/host"
	"github.com/sluicemesh/sluice/e2e/cluster/proc"
)

// Finding is one thing looked at on this host.
type Finding struct {
	Fine bool   // false: something is lacking and the harness cannot help
	What string // what was looked at and found
	Done string // what is done about it; empty when there is nothing to do
}

// Examine looks at what a cluster needs of this host and says what is lacking and what is done about it. It changes
// nothing but the cached answer of the registry. Only Config.Log is used.
func Examine(ctx context.Context, config Config) ([]Finding, error) {
	s, err := open(Config{Log: config.Log})
	if err != nil {
		return nil, err
	}
	address, engine := s.engine.Find(ctx)
	if err := useEngine(address); err != nil {
		return nil, err
	}
	packages := host.Local(s.out)
	findings := []Finding{
		system(), engineFinding(address, engine, packages), s.imageFinding(ctx, packages), rights(), routing(packages),
	}
	lacking, err := capabilities()
	if err != nil {
		return nil, err
	}
	return append(findings, lacking, groups(), families(), s.room()), nil
}

func system() Finding {
	f := Finding{Fine: runtime.GOOS == "linux", What: "operating system: " + runtime.GOOS + "/" + runtime.GOARCH}
	if !f.Fine {
		f.Done = "clusters run, but load balancer addresses and NodePorts live in the engine's virtual machine: use port-forward"
	}
	return f
}

func engineFinding(address string, found bool, packages host.Packager) Finding {
	installable := packages.Root && packages.Debian
	switch {
	case found && address == "":
		return Finding{Fine: true, What: "Docker engine: the machine's own", Done: "is used"}
	case found:
		return Finding{Fine: true, What: "Docker engine: started by us at " + address, Done: "ends with the last cluster"}
	case proc.Has("dockerd") && packages.Root:
		return Finding{Fine: true, What: "Docker engine: installed, not running", Done: "up starts one of its own, down ends it"}
	case installable:
		return Finding{Fine: true, What: "Docker engine: not installed", Done: "up installs it from Debian and starts one of its own"}
	}
	return Finding{What: "Docker engine: none answers", Done: "install and start Docker, or run as root on Debian"}
}

func (s session) imageFinding(ctx context.Context, packages host.Packager) Finding {
	if proc.Has("docker") && s.pullable(ctx) {
		return Finding{Fine: true, What: "kind's node image: can be pulled", Done: "is pulled"}
	}
	f := Finding{Fine: packages.Root, What: "kind's node image: no image registry answers"}
	f.Done = "one is built from Go modules and Debian packages, once"
	if !f.Fine {
		f.Done = "run as root, so that one can be built from Go modules and Debian packages"
	}
	return f
}

func rights() Finding {
	if os.Geteuid() == 0 {
		return Finding{Fine: true, What: "rights: root"}
	}
	return Finding{Fine: true, What: "rights: not root", Done: "routes are set from a container of the node image"}
}

func routing(packages host.Packager) Finding {
	if proc.Has("ip") {
		return Finding{Fine: true, What: "ip (iproute2): there"}
	}
	f := Finding{Fine: packages.Root && packages.Debian || runtime.GOOS != "linux", What: "ip (iproute2): missing"}
	f.Done = "up installs it"
	if !f.Fine {
		f.Done = "install the package iproute2"
	}
	return f
}

func capabilities() (Finding, error) {
	missing, err := capability.OfHost()
	if err != nil {
		return Finding{}, err
	}
	if len(missing) == 0 {
		return Finding{Fine: true, What: "capabilities: all"}, nil
	}
	return Finding{
		Fine: true, What: "capabilities: lacks " + strings.Join(missing, ", "),
		Done: "our engine gets a runtime that starts containers without",
	}, nil
}

func groups() Finding {
	if cgroupV1() {
		return Finding{Fine: true, What: "control groups: version 1", Done: "kubelet is told to take it"}
	}
	return Finding{Fine: true, What: "control groups: version 2"}
}

func families() Finding {
	text, err := os.ReadFile("/proc/sys/net/ipv6/conf/all/disable_ipv6")
	if err == nil && strings.TrimSpace(string(text)) == "0" || runtime.GOOS != "linux" {
		return Finding{Fine: true, What: "IPv6: there"}
	}
	return Finding{What: "IPv6: disabled", Done: "only --ip-family ipv4 works; enable net.ipv6.conf.all.disable_ipv6=0 for the others"}
}

// roomNeeded is what building and running takes: Go's and our cache, the engine's images and two clusters.
const roomNeeded = 12 << 30

func (s session) room() Finding {
	free, err := freeBytes(s.store.Root)
	if err != nil {
		return Finding{What: "room in the cache: " + err.Error(), Done: "set SLUICE_CACHE to a directory that can be written"}
	}
	f := Finding{Fine: free >= roomNeeded, What: fmt.Sprintf("room in the cache %s: %d GB", s.store.Root, free>>30)}
	if !f.Fine {
		f.Done = fmt.Sprintf("a first build needs %d GB: make room, or set SLUICE_CACHE", roomNeeded>>30)
	}
	return f
}

package repair

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/sluicemesh/sluice/initcontainer/cni/plugin"
	"github.com/sluicemesh/sluice/initcontainer/cni/pod"
)

// Namespace opens the network namespace of a pod: that of a process in one of the pod's
// control groups, in which the pod's address is. The caller closes it.
func (c Config) Namespace(p *pod.Pod) (netns.NsHandle, error) {
	address := net.ParseIP(p.Status.PodIP)
	if address == nil || p.Metadata.UID == "" {
		return netns.None(), fmt.Errorf("the pod has no address yet: %q", p.Status.PodIP)
	}
	processes, err := c.processes(p.Metadata.UID)
	if err != nil {
		return netns.None(), fmt.Errorf("find the pod's processes: %w", err)
	}
	err = errors.New("none of its processes is there")
	for _, pid := range processes {
		var ns netns.NsHandle
		if ns, err = c.open(pid, p.Metadata.UID, address); err == nil {
			return ns, nil
		}
	}
	return netns.None(), fmt.Errorf("find the pod's network namespace: %w", err)
}

// open opens the namespace of a process, which must be that of the pod.
func (c Config) open(pid int, uid string, address net.IP) (netns.NsHandle, error) {
	ns, err := netns.GetFromPath(filepath.Join(c.Proc, strconv.Itoa(pid), "ns", "net"))
	if err != nil {
		return netns.None(), err
	}
	// The number of a process that has ended may have been given to another meanwhile.
	if !c.belongs(pid, uid) {
		return netns.None(), errors.Join(fmt.Errorf("process %d has ended", pid), ns.Close())
	}
	if err := plugin.Within(ns, func() error { return holds(address) }); err != nil {
		return netns.None(), errors.Join(err, ns.Close())
	}
	return ns, nil
}

// holds fails if no interface in the namespace of the calling thread has the address.
func holds(address net.IP) error {
	addresses, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return fmt.Errorf("list addresses: %w", err)
	}
	if !slices.ContainsFunc(addresses, func(a netlink.Addr) bool { return a.IP.Equal(address) }) {
		return fmt.Errorf("the network namespace does not have the pod's address %s", address)
	}
	return nil
}

// processes lists the processes of a pod, the oldest first as far as numbers tell.
func (c Config) processes(uid string) ([]int, error) {
	entries, err := os.ReadDir(c.Proc)
	if err != nil {
		return nil, err
	}
	var found []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil && c.belongs(pid, uid) {
			found = append(found, pid)
		}
	}
	slices.Sort(found)
	return found, nil
}

// belongs reports whether a process is in a control group of the pod. Their names have the
// pod's UID, with dashes, or with underscores where systemd makes them.
func (c Config) belongs(pid int, uid string) bool {
	text, err := os.ReadFile(filepath.Join(c.Proc, strconv.Itoa(pid), "cgroup"))
	if err != nil {
		return false // it has ended
	}
	return bytes.Contains(text, []byte("pod"+uid)) || bytes.Contains(text, []byte("pod"+strings.ReplaceAll(uid, "-", "_")))
}

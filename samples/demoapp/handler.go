package main

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
)

// demoapp is what the server says of itself.
type demoapp struct {
	version string // "v1.0"
	name    string // host name, which is the pod's name in Kubernetes
	addr    string // the host's address
}

func (d demoapp) handler() http.Handler {
	mux := http.NewServeMux()
	text := func(pattern string, answer func(r *http.Request) string) {
		mux.HandleFunc("GET "+pattern, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			fmt.Fprintln(w, answer(r))
		})
	}
	text("/{$}", func(r *http.Request) string {
		return fmt.Sprintf("iKubernetes demoapp %s !! ClientIP: %s, ServerName: %s, ServerIP: %s!",
			d.version, clientAddress(r), d.name, d.addr)
	})
	text("/hostname", func(*http.Request) string { return "ServerName: " + d.name })
	text("/user-agent", func(r *http.Request) string { return "User-Agent: " + r.UserAgent() })
	text("/version", func(*http.Request) string { return "Version: " + d.version })
	text("/livez", func(*http.Request) string { return "OK" })
	text("/readyz", func(*http.Request) string { return "OK" })
	return mux
}

// clientAddress is the address of the TCP peer, whatever headers say: behind a sidecar it is
// the sidecar's, which is what the sample is there to show.
func clientAddress(r *http.Request) string {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return peer.Addr().Unmap().String()
}

// ownAddress returns the host's first address that others can reach, IPv4 before IPv6, and
// 127.0.0.1 on a host without a network. Addresses of the loopback interface never count, even
// those that a mesh has added there (::6).
func ownAddress() (netip.Addr, error) {
	found := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	interfaces, err := net.Interfaces()
	if err != nil {
		return found, fmt.Errorf("list interfaces: %w", err)
	}
	for _, i := range interfaces {
		if i.Flags&net.FlagUp == 0 || i.Flags&net.FlagLoopback != 0 {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			return found, fmt.Errorf("list addresses of %s: %w", i.Name, err)
		}
		for _, a := range addrs {
			prefix, err := netip.ParsePrefix(a.String())
			if err != nil || !prefix.Addr().IsGlobalUnicast() {
				continue
			}
			if prefix.Addr().Is4() {
				return prefix.Addr(), nil
			}
			if found.IsLoopback() {
				found = prefix.Addr()
			}
		}
	}
	return found, nil
}

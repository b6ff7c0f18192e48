package name_test

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicemesh/sluice/internal/nametable"
	"github.com/sluicemesh/sluice/xds/class"
	"github.com/sluicemesh/sluice/xds/envoy/name"
	"github.com/sluicemesh/sluice/xds/ir"
)

func prefixes(texts ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, t := range texts {
		out = append(out, netip.MustParsePrefix(t))
	}
	return out
}

func kube(addrs ...string) ir.Service {
	return ir.Service{
		ID: ir.ServiceID{Namespace: "shop", Host: "web.shop.svc.cluster.local"}, Registry: ir.Kubernetes, Name: "web",
		Addresses: prefixes(addrs...),
	}
}

func headless() ir.Service {
	s := kube()
	s.Headless, s.Resolution = true, ir.Passthrough
	return s
}

func external(r ir.Resolution, addrs ...string) ir.Service {
	return ir.Service{
		ID: ir.ServiceID{Namespace: "shop", Host: "*.example.com"}, Registry: ir.External, Resolution: r, Addresses: prefixes(addrs...),
	}
}

func TestBuild(t *testing.T) {
	members := []ir.SliceEndpoint{
		{Addresses: []string{"10.0.0.9"}, Hostname: "web-1"},
		{Addresses: []string{"10.0.0.2"}, Hostname: "web-0"},
		{Addresses: []string{"fd00::2"}, Hostname: "web-0"},
		{Addresses: []string{"10.0.0.3"}},
		{Addresses: []string{"10.0.0.3"}},
		{Addresses: []string{"10.0.0.4"}, Hostname: "web-4", Health: ir.Unhealthy},
		{Addresses: []string{"host"}, Hostname: "web-5"},
	}
	web := func(host, short string, ips ...string) nametable.Entry {
		return nametable.Entry{Host: host, Addresses: ips, Registry: "Kubernetes", ShortName: short, Namespace: "shop"}
	}
	const four, six = class.IPv4, class.IPv6
	for _, c := range []struct {
		name     string
		service  ir.Service
		families class.Families
		want     []nametable.Entry
	}{
		{"service", kube("10.96.0.1/32"), four, []nametable.Entry{web("web.shop.svc.cluster.local", "web", "10.96.0.1")}},
		{"first family first", kube("fd00::1/128", "10.96.0.1/32"), four | six, []nametable.Entry{web("web.shop.svc.cluster.local", "web", "fd00::1", "10.96.0.1")}},
		{"one family", kube("fd00::1/128", "10.96.0.1/32"), six, []nametable.Entry{web("web.shop.svc.cluster.local", "web", "fd00::1")}},
		{"other family", kube("fd00::1/128"), four, nil},
		{"no address yet", kube(), four, nil},
		{"headless", headless(), four | six, []nametable.Entry{
			web("web.shop.svc.cluster.local", "web", "10.0.0.2", "10.0.0.3", "10.0.0.9", "fd00::2"),
			web("web-0.web.shop.svc.cluster.local", "web-0.web", "10.0.0.2", "fd00::2"),
			web("web-1.web.shop.svc.cluster.local", "web-1.web", "10.0.0.9"),
		}},
		{"headless, other family", headless(), six, []nametable.Entry{
			web("web.shop.svc.cluster.local", "web", "fd00::2"), web("web-0.web.shop.svc.cluster.local", "web-0.web", "fd00::2"),
		}},
		{"entry", external(ir.Static, "240.0.0.1/32", "240.0.0.2/32", "10.0.0.0/8"), four, []nametable.Entry{
			{Host: "*.example.com", Addresses: []string{"240.0.0.1", "240.0.0.2"}, Registry: "External", Namespace: "shop"},
		}},
		{"entry of networks", external(ir.Passthrough, "10.0.0.0/8"), four, nil},
		{"entry without address", external(ir.DNS), four, nil},
		{"entry of members", external(ir.Passthrough), four, []nametable.Entry{
			{Host: "*.example.com", Addresses: []string{"10.0.0.2", "10.0.0.3", "10.0.0.9"}, Registry: "External", Namespace: "shop"},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := members
			if c.name == "entry of members" {
				in = []ir.SliceEndpoint{members[0], members[1], members[3], members[4], members[5]}
				for i := range in {
					in[i].Hostname = ""
				}
			}
			body := name.Build(c.service, in, name.Key{Families: c.families})
			if (body == nil) != (c.want == nil) {
				t.Fatalf("body %x, want %v", body, c.want)
			}
			got, err := nametable.Parse(body)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

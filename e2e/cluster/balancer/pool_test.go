package balancer

import (
	"net/netip"
	"testing"
)

func TestPoolRanges(t *testing.T) {
	for n, want := range map[int][2]string{
		0:   {"198.18.0.0/24", "fd5a:1ce0:1::/112"},
		1:   {"198.18.1.0/24", "fd5a:1ce0:1:1::/112"},
		255: {"198.18.255.0/24", "fd5a:1ce0:1:ff::/112"},
	} {
		got := PoolRanges(n)
		if got[0].String() != want[0] || got[1].String() != want[1] {
			t.Errorf("PoolRanges(%d) = %v; want %v", n, got, want)
		}
	}
}

func TestNext(t *testing.T) {
	pool, err := NewPool(netip.MustParsePrefix("198.18.7.252/30"), netip.MustParsePrefix("fd5a::/112"))
	if err != nil {
		t.Fatal(err)
	}
	taken := map[netip.Addr]bool{}
	for _, want := range []string{"198.18.7.253", "198.18.7.254", "198.18.7.255"} {
		got, found := pool.Next(true, taken)
		if !found || got.String() != want {
			t.Fatalf("Next = %s, %t; want %s", got, found, want)
		}
		taken[got] = true
	}
	if got, found := pool.Next(true, taken); found {
		t.Errorf("Next of an exhausted family = %s", got)
	}
	if got, found := pool.Next(false, taken); !found || got.String() != "fd5a::1" {
		t.Errorf("Next of the other family = %s, %t; want fd5a::1", got, found)
	}
	four, err := NewPool(netip.MustParsePrefix("198.18.7.0/24"))
	if err != nil {
		t.Fatal(err)
	}
	if got, found := four.Next(false, nil); found {
		t.Errorf("Next of a family the pool has not = %s", got)
	}
}

func TestNewPoolRefuses(t *testing.T) {
	for _, ranges := range [][]string{{}, {"10.0.0.0/8", "192.168.0.0/16"}, {"10.0.0.1/8"}} {
		var prefixes []netip.Prefix
		for _, text := range ranges {
			prefixes = append(prefixes, netip.MustParsePrefix(text))
		}
		if _, err := NewPool(prefixes...); err == nil {
			t.Errorf("NewPool(%v) = nil error", ranges)
		}
	}
}

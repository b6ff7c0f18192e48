package balancer

import (
	"errors"
	"fmt"
	"net/netip"
)

// Pools is how many clusters of one host can have addresses at once.
const Pools = 256

// PoolRanges returns the address ranges of the n-th pool, 0 ≤ n < Pools: one for IPv4, one for IPv6. They are private
// to this host: IPv4 from the range for benchmarks (RFC 2544), IPv6 from a unique local prefix.
func PoolRanges(n int) [2]netip.Prefix {
	v4 := netip.AddrFrom4([4]byte{198, 18, byte(n), 0})
	v6 := netip.AddrFrom16([16]byte{0xfd, 0x5a, 0x1c, 0xe0, 0x00, 0x01, 0x00, byte(n)})
	return [2]netip.Prefix{netip.PrefixFrom(v4, 24), netip.PrefixFrom(v6, 112)}
}

// Pool is the set of addresses one cluster gives to its Services.
type Pool struct {
	ranges []netip.Prefix
}

// NewPool makes a pool of ranges, at most one per family. The first address of a range is never given out: some resolvers and
// people take an address ending in 0 for a network.
func NewPool(ranges ...netip.Prefix) (Pool, error) {
	if len(ranges) == 0 {
		return Pool{}, errors.New("no address range")
	}
	for i, each := range ranges {
		if each != each.Masked() {
			return Pool{}, fmt.Errorf("range %s: has bits set behind its length", each)
		}
		for _, other := range ranges[:i] {
			if other.Addr().Is4() == each.Addr().Is4() {
				return Pool{}, fmt.Errorf("ranges %s and %s: one per family", other, each)
			}
		}
	}
	return Pool{ranges: ranges}, nil
}

// Contains reports whether the pool may give out the address.
func (p Pool) Contains(address netip.Addr) bool {
	for _, each := range p.ranges {
		if each.Contains(address) && address != each.Addr() {
			return true
		}
	}
	return false
}

// Next returns the lowest address of a family that taken does not hold. None is left, or none ever was: false.
func (p Pool) Next(v4 bool, taken map[netip.Addr]bool) (netip.Addr, bool) {
	for _, each := range p.ranges {
		if each.Addr().Is4() != v4 {
			continue
		}
		for address := each.Addr().Next(); each.Contains(address); address = address.Next() {
			if !taken[address] {
				return address, true
			}
		}
	}
	return netip.Addr{}, false
}

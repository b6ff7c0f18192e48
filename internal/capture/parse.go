package capture

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// ParseRanges reads the value of an address option or annotation: "*", a comma-separated
// list of CIDRs or addresses, or "" for nothing. Blanks around commas are allowed. Host bits are kept as
// given. The error names the word that is not a CIDR.
func ParseRanges(s string) (Ranges, error) {
	if strings.TrimSpace(s) == "*" {
		return Ranges{All: true}, nil
	}
	prefixes, err := ParsePrefixes(s)
	return Ranges{Prefixes: prefixes}, err
}

// ParsePrefixes reads a comma-separated list of CIDRs; a bare address is the prefix of
// just that address. "*" is an error: an exclusion of everything is never meant.
func ParsePrefixes(s string) ([]netip.Prefix, error) {
	return parseList(s, func(word string) (netip.Prefix, error) {
		if addr, err := netip.ParseAddr(word); err == nil && addr.Zone() == "" {
			return netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		p, err := netip.ParsePrefix(word)
		if err != nil {
			return netip.Prefix{}, fmt.Errorf("%q is not an IP range, write ADDRESS/BITS such as 10.0.0.0/8", word)
		}
		return p, nil
	})
}

// ParsePorts reads the value of a port option or annotation: "*", a comma-separated list
// of ports 0 to 65535, or "" for nothing. The error names the word that is not a port.
func ParsePorts(s string) (Ports, error) {
	if strings.TrimSpace(s) == "*" {
		return Ports{All: true}, nil
	}
	list, err := ParsePortList(s)
	return Ports{List: list}, err
}

// ParsePortList is ParsePorts without "*".
func ParsePortList(s string) ([]uint16, error) {
	return parseList(s, func(word string) (uint16, error) {
		n, err := strconv.ParseUint(word, 10, 16)
		if err != nil {
			return 0, fmt.Errorf("%q is not a port, write a number from 0 to 65535", word)
		}
		return uint16(n), nil
	})
}

// ParseInterfaces reads a comma-separated list of names of network interfaces, or "" for
// nothing: at most 15 characters each, a letter followed by letters, digits, "_", "." or
// "-". The error names the word that is no such name.
func ParseInterfaces(s string) ([]string, error) {
	return parseList(s, func(word string) (string, error) {
		if len(word) > maxInterface || !isLetter(word[0]) || strings.ContainsFunc(word, notInInterface) {
			return "", fmt.Errorf("%q is not the name of an interface, write at most %d letters, digits, "+
				"\"_\", \".\" or \"-\", a letter first", word, maxInterface)
		}
		return word, nil
	})
}

// maxInterface is how long the kernel lets the name of an interface be, in bytes.
const maxInterface = 15

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

func notInInterface(r rune) bool {
	return r > 0x7f || !isLetter(byte(r)) && (r < '0' || r > '9') && !strings.ContainsRune("_.-", r)
}

// parseList splits s at commas, drops blanks and empty words, and parses each word. The
// error joins those of all words.
func parseList[T any](s string, parse func(string) (T, error)) ([]T, error) {
	var out []T
	var mistakes []error
	for word := range strings.SplitSeq(s, ",") {
		word = strings.TrimSpace(word)
		if word == "" {
			continue
		}
		v, err := parse(word)
		if err != nil {
			mistakes = append(mistakes, err)
			continue
		}
		out = append(out, v)
	}
	if len(mistakes) > 0 {
		return nil, errors.Join(mistakes...)
	}
	return out, nil
}

package certs

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"slices"
)

// fingerprint identifies a certificate by its bytes.
type fingerprint [sha256.Size]byte

func identify(c *x509.Certificate) fingerprint { return sha256.Sum256(c.Raw) }

// rootSet is what a bundle holds, in its order. clean says that it holds nothing else.
type rootSet struct {
	certs []*x509.Certificate
	clean bool
}

// maxRoots bounds how many roots of others are kept: a bundle must not grow with every
// rotation in a quick row.
const maxRoots = 8

// parseRoots reads a bundle; what is no certificate in it is left out.
func parseRoots(bundle []byte) rootSet {
	set := rootSet{clean: true}
	for len(bundle) > 0 {
		var block *pem.Block
		block, bundle = pem.Decode(bundle)
		if block == nil {
			set.clean = false
			return set
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil || block.Type != "CERTIFICATE" {
			set.clean = false
			continue
		}
		set.certs = append(set.certs, c)
	}
	return set
}

func (s rootSet) has(c *x509.Certificate) bool { return slices.ContainsFunc(s.certs, c.Equal) }

// merge returns the bundle to write over present: roots, then those of present that stay. It
// is false when present says as much already, in whatever order.
func merge(roots, present []byte, stays func(*x509.Certificate) bool) ([]byte, bool) {
	own, there := parseRoots(roots), parseRoots(present)
	out := slices.Clone(roots)
	changed := !there.clean || slices.ContainsFunc(own.certs, func(c *x509.Certificate) bool { return !there.has(c) })
	others := 0
	for _, c := range there.certs {
		if own.has(c) {
			continue
		}
		if !stays(c) || others == maxRoots {
			changed = true
			continue
		}
		others++
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return out, changed
}

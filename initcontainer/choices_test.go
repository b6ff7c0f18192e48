package initcontainer_test

import (
	"math/rand/v2"
	"slices"
	"strings"
)

// options are the words of each option, what a pod without annotations has first. Addresses
// of both families come together where there are both.
var options = [][]string{
	{"-i *", "", "-i 8.8.8.0/24,2001:4860::/32", "-i 0.0.0.0/0,::/0", "-i 127.0.0.5/32,8.8.8.8/32", "-i 8.8.8.8,::1/128"},
	{"-b *", "", "-b 8080,22,15008"},
	{"-d 15090,15021,15020", "", "-d 8080,22"},
	{"", "-m TPROXY", "-m NONE"},
	{"", "-t 77 -r 99"},
	{"", "-x 8.8.8.8/24,2001:4860:4860::8888/64", "-x 9.9.9.9,2620:fe::9,127.0.0.5"},
	{"", "-q 32000,53"},
	{"", "-o 53,80", "-o 8080,15008"},
	{"", "-c net1", "-c eth0,eth9"},
	{"", "-k net1", "-k eth9,net1"},
	{"", "-u 1337,2000"},
	{"", "-g 1337,888", "-g 888"},
	{"", "-p 15011"},
	{"", "-z 15016"},
	{"", "-e 8080", "-e 15002"},
	{"", "ISTIO_OUTBOUND_OWNER_GROUPS=7,888", "ISTIO_OUTBOUND_OWNER_GROUPS=,"},
	{"", "ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE=888,0"},
	{"", "ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR=127.0.0.0/8", "ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR=127.0.0.4/30"},
	{"", "--drop-invalid"},
	{"", "--redirect-dns", "--redirect-dns --capture-all-dns"},
}

// choice is the index of one variant of each option.
type choice []int

func (c choice) String() string {
	var words []string
	for i, variant := range c {
		if text := options[i][variant]; text != "" {
			words = append(words, text)
		}
	}
	return strings.Join(words, " ")
}

// alone is the default and each variant of each option, the others as in the default.
func alone() []choice {
	out := []choice{make(choice, len(options))}
	for i := range options {
		for variant := 1; variant < len(options[i]); variant++ {
			c := make(choice, len(options))
			c[i] = variant
			out = append(out, c)
		}
	}
	return out
}

// pairs is each variant beside each of another option.
func pairs() (out []choice) {
	for _, a := range alone()[1:] {
		for _, b := range alone()[1:] {
			at := slices.IndexFunc(a, isSet)
			if other := slices.IndexFunc(b, isSet); other > at {
				c := slices.Clone(b)
				c[at] = a[at]
				out = append(out, c)
			}
		}
	}
	return out
}

func isSet(variant int) bool { return variant != 0 }

// anyChoice has several options that differ from the default. Those without which there is
// little to capture differ less often.
func anyChoice(rng *rand.Rand) choice {
	c := make(choice, len(options))
	density := 2 + rng.IntN(5)
	for i := range c {
		if rng.IntN(density) == 0 {
			c[i] = rng.IntN(len(options[i]))
		}
	}
	if c[3] == 2 { // NONE leaves nothing of the others
		c[3] = rng.IntN(3)
	}
	return c
}

package initcontainer_test

import "testing"

// backend is a place for rules and the flag that chooses it.
type backend struct{ name, flag string }

const native = "--native-nftables"

// backends lists all that work here; that of nftables' own tables must.
func backends(t *testing.T) []backend {
	t.Helper()
	out := []backend{{"nftables", native}}
	for _, flavour := range flavours(t) {
		out = append(out, backend{"iptables-" + flavour, "--force-iptables-binary=" + flavour})
	}
	return out
}

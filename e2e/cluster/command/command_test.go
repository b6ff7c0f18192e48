package command

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCommands(t *testing.T) {
	var names []string
	for _, each := range New().Commands() {
		names = append(names, each.Name())
	}
	want := []string{"assets", "doctor", "down", "kubeconfig", "kubectl", "load", "status", "up"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("commands (-want +got):\n%s", diff)
	}
}

func TestRefusals(t *testing.T) {
	t.Setenv("SLUICE_CACHE", t.TempDir())
	t.Setenv("CLUSTER", "")
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"load"}, "requires at least 1 arg(s), only received 0"},
		{[]string{"up", "now"}, `unknown command "now" for "cluster up"`},
		{[]string{"up", "--ip-family", "ipx"}, `ip family "ipx": use ipv4, ipv6 or dual`},
		{[]string{"up", "--name", "A"}, `cluster name "A": use at most 40 lower-case letters, digits and dashes`},
		{[]string{"kubeconfig"}, "cluster sluice is not up: run up first"},
	} {
		root := New()
		root.SetArgs(c.args)
		var out bytes.Buffer
		root.SetOut(&out)
		if err := root.ExecuteContext(t.Context()); err == nil || err.Error() != c.want {
			t.Errorf("cluster %q = %v; want %s", c.args, err, c.want)
		}
		if out.Len() > 0 {
			t.Errorf("cluster %q printed %q; want nothing: the error says it", c.args, out.String())
		}
	}
}

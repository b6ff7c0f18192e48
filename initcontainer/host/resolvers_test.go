package host

import (
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseResolvers(t *testing.T) {
	tests := []struct {
		name, text string
		want       []string
	}{
		{"kubelet", "search shop.svc.cluster.local svc.cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n", []string{"10.96.0.10"}},
		{"both families, no end of line", "nameserver 10.96.0.10\nnameserver fd00::a", []string{"10.96.0.10", "fd00::a"}},
		{"zone", "nameserver fe80::1%eth0\n", []string{"fe80::1"}},
		{"mapped", "nameserver ::ffff:10.0.0.1\n", []string{"10.0.0.1"}},
		{"twice", "nameserver 10.0.0.1\nnameserver 10.0.0.1\n", []string{"10.0.0.1"}},
		{"blanks and remarks", "\tnameserver\t10.0.0.1 # first\r\n#nameserver 10.0.0.2\n; nameserver 10.0.0.3\n nameserver 10.0.0.4\n",
			[]string{"10.0.0.1", "10.0.0.4"}},
		{"not servers", "nameserver\nnameserver example.com\nnameserver 10.0.0.256\nnameservers 10.0.0.1\nNAMESERVER 10.0.0.1\n", nil},
		{"more than the C library asks", "nameserver 10.0.0.1\nnameserver 10.0.0.2\nnameserver 10.0.0.3\nnameserver 10.0.0.4\n",
			[]string{"10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"}},
		{"empty", "", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, a := range ParseResolvers(tt.text) {
				got = append(got, a.String())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("ParseResolvers (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReadResolversWithoutFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "none")
	if _, err := ReadResolvers(file); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("error %v, want one that names the file", err)
	}
}

func FuzzParseResolvers(f *testing.F) {
	f.Add("search a b\nnameserver 10.96.0.10\nnameserver fd00::a%eth0\noptions ndots:5\n")
	f.Add("nameserver\x00 1.2.3.4\r\nnameserver ::ffff:1.2.3.4")
	f.Fuzz(func(t *testing.T, text string) {
		got := ParseResolvers(text)
		for i, a := range got {
			if !a.IsValid() || a.Zone() != "" || a.Is4In6() || slices.Contains(got[:i], a) {
				t.Errorf("server %v of %v", a, got)
			}
			// A server is a word of the text, unless it is written otherwise there.
			if again := ParseResolvers("nameserver " + a.String()); !slices.Equal(again, []netip.Addr{a}) {
				t.Errorf("%v is read as %v", a, again)
			}
		}
	})
}

func TestNames(t *testing.T) {
	names := Names()
	if id, known := names.User("root"); id != 0 || !known {
		t.Errorf("user root = %d, %t", id, known)
	}
	if id, known := names.Group("root"); id != 0 || !known {
		t.Errorf("group root = %d, %t", id, known)
	}
	for _, name := range []string{"no-such-name", "", "root:x"} {
		if id, known := names.User(name); known {
			t.Errorf("user %q = %d", name, id)
		}
		if id, known := names.Group(name); known {
			t.Errorf("group %q = %d", name, id)
		}
	}
}

package debian

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestClosureOfDepends(t *testing.T) {
	const printed = `iptables
  Depends: libip4tc2
  Depends: libc6
 |Depends: debconf
  Depends: <debconf-2.0>
    cdebconf
libip4tc2
  Depends: libc6
libc6
<debconf-2.0>
perl:any
libip4tc2
`
	want := []string{"iptables", "libc6", "libip4tc2"}
	if diff := cmp.Diff(want, closure(printed)); diff != "" {
		t.Errorf("closure (-want +got):\n%s", diff)
	}
}

// TestKey wants another directory for another set and for another release.
func TestKey(t *testing.T) {
	set := Set{Whole: []string{"a"}, Alone: []string{"b"}}
	keys := map[string]bool{
		key(set, []byte("VERSION_ID=12")):                                 true,
		key(set, []byte("VERSION_ID=13")):                                 true,
		key(Set{Whole: []string{"a", "b"}}, []byte("VERSION_ID=12")):      true,
		key(Set{Alone: []string{"a", "b"}}, []byte("VERSION_ID=12")):      true,
		key(Set{Whole: []string{"a", "b", ""}}, []byte("VERSION_ID=12")):  true,
		key(Set{Whole: []string{"a"}, Alone: nil}, []byte("VERSION_ID=")): true,
	}
	if len(keys) != 6 {
		t.Errorf("%d keys, want 6", len(keys))
	}
}

package host

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicemesh/sluice/e2e/cluster/progress"
)

func TestIsDebian(t *testing.T) {
	for release, want := range map[string]bool{
		"ID=debian\n": true,
		"NAME=\"Ubuntu\"\nID=ubuntu\nID_LIKE=debian\n": true,
		"ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n":    true,
		"ID=fedora\n": false,
		"ID=notdebian\nPRETTY_NAME=\"like debian\"\n": false,
		"": false,
	} {
		if got := isDebian(release); got != want {
			t.Errorf("isDebian(%q) = %t; want %t", release, got, want)
		}
	}
}

func TestPackagesOf(t *testing.T) {
	got := packagesOf([]string{"dockerd", "ip", "docker", "debootstrap"})
	if diff := cmp.Diff([]string{"debootstrap", "docker.io", "iproute2"}, got); diff != "" {
		t.Errorf("packagesOf (-want +got):\n%s", diff)
	}
}

func TestNeedNamesThePackage(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for _, p := range []Packager{{Root: false, Debian: true}, {Root: true, Debian: false}} {
		p.Out = progress.New(nil)
		want := "dockerd, ip not found: install the package docker.io iproute2 (on Debian, as root: apt-get install docker.io iproute2)"
		if err := p.Need(t.Context(), "dockerd", "ip"); err == nil || err.Error() != want {
			t.Errorf("Need by %+v = %v; want %s", p, err, want)
		}
	}
}

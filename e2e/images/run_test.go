package images_test

import (
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/miekg/dns"
	"github.com/vishvananda/netlink"
	"golang.org/x/sync/errgroup"
)

// inside runs a command with root as its root directory, in a network namespace of its own
// when isolate is set, and returns what it printed.
func inside(t *testing.T, root string, isolate bool, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Path, cmd.Dir, cmd.Err = args[0], "/", nil
	cmd.Env = []string{"PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
	if isolate {
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWNET
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func needsRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("running programs in the image's file system needs root (chroot)")
	}
}

// TestProxyRuns starts the programs of the proxy image in its own file system.
func TestProxyRuns(t *testing.T) {
	img := image(t, "proxyv2")
	needsRoot(t)
	root := unpack(t, img)
	for _, c := range []struct{ program, want string }{
		{"/usr/local/bin/envoy", "/1.40.0/Clean/RELEASE/BoringSSL"},
		{"/usr/sbin/iptables", "(nf_tables)"},
		{"/usr/sbin/iptables-nft", "(nf_tables)"},
		{"/usr/sbin/iptables-legacy", "(legacy)"},
		{"/usr/sbin/ip6tables", "(nf_tables)"},
		{"/usr/sbin/ip6tables-legacy", "(legacy)"},
		{"/usr/sbin/ip6tables-nft-restore", "(nf_tables)"},
		{"/usr/sbin/iptables-save", "(nf_tables)"},
		{"/usr/sbin/iptables-legacy-save", "(legacy)"},
		{"/usr/local/bin/pilot-agent", "cmd/sluice-agent dev"},
		{"/usr/local/bin/istio-iptables", "cmd/sluice-init dev"},
	} {
		if got := inside(t, root, false, c.program, "--version"); !strings.Contains(got, c.want) {
			t.Errorf("%s --version printed %q, want %q in it", c.program, got, c.want)
		}
	}
}

// TestProxyWritesRules loads the extensions that interception rules use, in a namespace of the
// child's own, and reads the rules back.
func TestProxyWritesRules(t *testing.T) {
	img := image(t, "proxyv2")
	needsRoot(t)
	root := unpack(t, img)
	for _, program := range []string{"/usr/sbin/iptables", "/usr/sbin/ip6tables"} {
		script := program + "-restore"
		rules := "*nat\n" +
			"-A OUTPUT -p tcp -m owner --uid-owner 1337 -m comment --comment why -j RETURN\n" +
			"-A OUTPUT -p tcp -m multiport --dports 80,443 -j REDIRECT --to-ports 15001\nCOMMIT\n"
		if err := os.WriteFile(filepath.Join(root, "rules"), []byte(rules), 0o644); err != nil {
			t.Fatal(err)
		}
		inside(t, root, true, script, "-w", "/rules")
		// The namespace ends with the process, so one that adds a rule also has to print it.
		got := inside(t, root, true, program, "-t", "nat", "-v", "-A", "OUTPUT", "-p", "tcp",
			"-m", "owner", "--uid-owner", "1337", "-j", "REDIRECT", "--to-ports", "15001")
		if want := "owner UID match 1337 redir ports 15001"; !strings.Contains(got, want) {
			t.Errorf("%s printed %q, want %q in it", program, got, want)
		}
	}
}

// TestSleepRuns starts a shell and curl in the sleep image, and resolves a name with both curl
// (glibc) and busybox over DNS, served in a network namespace of the test's own.
func TestSleepRuns(t *testing.T) {
	img := image(t, "sleep")
	needsRoot(t)
	root := unpack(t, img)
	if got := inside(t, root, false, "/bin/sh", "-c", "echo $((6*7)) | tr 4 5"); got != "52\n" {
		t.Errorf("sh printed %q, want 52", got)
	}
	if got := inside(t, root, false, "/usr/bin/curl", "--version"); !strings.HasPrefix(got, "curl ") || !strings.Contains(got, "HTTP2") {
		t.Errorf("curl --version printed %q", got)
	}
	inside(t, root, false, "/bin/sleep", "0")
	if err := os.WriteFile(filepath.Join(root, "etc", "resolv.conf"), []byte("nameserver 127.0.0.1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	ownNetwork(t)
	serve(t)
	for _, args := range [][]string{
		{"/usr/bin/curl", "-sS", "http://web.test/"},
		{"/usr/bin/wget", "-qO-", "http://web.test/"},
	} {
		if got := inside(t, root, false, args...); got != "hello\n" {
			t.Errorf("%s printed %q, want hello", strings.Join(args, " "), got)
		}
	}
}

// ownNetwork moves the test into a new network namespace with nothing but a loopback
// interface. The thread is never unlocked, so it, and the namespace, end with the test.
func ownNetwork(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	if err := syscall.Unshare(syscall.CLONE_NEWNET); err != nil {
		t.Fatalf("new network namespace: %v", err)
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		t.Fatal(err)
	}
}

// serve answers DNS queries for web.test and HTTP requests on 127.0.0.1 until the test ends.
func serve(t *testing.T) {
	t.Helper()
	udp, err := net.ListenPacket("udp", "127.0.0.1:53")
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:80")
	if err != nil {
		t.Fatal(err)
	}
	names := &dns.Server{PacketConn: udp, Handler: dns.HandlerFunc(answer)}
	web := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Write([]byte("hello\n"))
	})}
	var servers errgroup.Group
	started := make(chan struct{})
	names.NotifyStartedFunc = func() { close(started) }
	servers.Go(names.ActivateAndServe)
	servers.Go(func() error {
		if err := web.Serve(tcp); err != http.ErrServerClosed {
			return err
		}
		return nil
	})
	<-started
	t.Cleanup(func() {
		if err := names.Shutdown(); err != nil {
			t.Error(err)
		}
		if err := web.Close(); err != nil {
			t.Error(err)
		}
		if err := servers.Wait(); err != nil {
			t.Error(err)
		}
	})
}

func answer(w dns.ResponseWriter, q *dns.Msg) {
	reply := new(dns.Msg)
	reply.SetReply(q)
	if q.Question[0].Name == "web.test." && q.Question[0].Qtype == dns.TypeA {
		rr, err := dns.NewRR("web.test. 5 IN A 127.0.0.1")
		if err == nil {
			reply.Answer = append(reply.Answer, rr)
		}
	}
	_ = w.WriteMsg(reply) // a client that is gone is no failure of the server
}

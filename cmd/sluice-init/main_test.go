package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/sluicemesh/sluice/initcontainer/netlab"
)

// build makes the program as an image has it.
func build(t testing.TB) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "sluice-init")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", program, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return program
}

type outcome struct {
	code           int
	stdout, stderr string
}

// execute runs the program in the lab's pod, as root.
func execute(t testing.TB, lab *netlab.Lab, env []string, program string, args ...string) outcome {
	t.Helper()
	return executeAs(t, lab, nil, env, program, args...)
}

func executeAs(t testing.TB, lab *netlab.Lab, user *syscall.Credential, env []string, program string, args ...string) outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(program, args...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, env...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: user}
	err := netlab.In(lab.Pod, cmd.Run)
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return outcome{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

func TestProgram(t *testing.T) {
	program := build(t)
	lossy := `case "$0" in *-restore) grep -v -e '--dport 15008' | exec $REAL "$@";; *) exec $REAL "$@";; esac`
	lossyPath := "PATH=" + netlab.FakePrograms(t, lossy, nil) + string(filepath.ListSeparator) + os.Getenv("PATH")
	tests := []struct {
		name   string
		env    []string
		args   string
		code   int
		stdout string
		stderr string
		silent bool // nothing on standard error
	}{
		{name: "default pod", args: "istio-iptables -p 15001 -z 15006 -u 1337 -m REDIRECT -i * -x  -b * -d 15090,15021,15020",
			stdout: `msg="rules loaded and verified" family=IPv6 backend=iptables-nft rules=16 replaced=0`},
		{name: "environment", env: []string{"CLEANUP_ONLY=true"}, stdout: `msg="nothing to change" family=IPv4`},
		{name: "help", args: "--help", stdout: "--istio-service-cidr"},
		{name: "dry run", args: "-n -i *", stdout: "*nat\n:ISTIO_OUTPUT - [0:0]\n"},
		{name: "JSON logs", args: "--log_as_json", stdout: `"msg":"rules loaded and verified"`},
		{name: "unknown group", env: []string{"ISTIO_OUTBOUND_OWNER_GROUPS=no-such-group"}, code: 1,
			stderr: `environment variable ISTIO_OUTBOUND_OWNER_GROUPS: no group "no-such-group" in the init container's image, write its number`},
		{name: "no iptables", env: []string{"PATH=/nonexistent"}, code: 1, stdout: "no usable backend: iptables-nft: IPv4: program iptables-nft is not in the image"},
		{name: "answer for programs", args: "verify -m NONE --capture-all-dns --json", stdout: `"proven": true`, silent: true},
		{name: "rules that do not stick", env: []string{lossyPath}, args: "-b *", code: 126, stdout: `missing rule`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var args []string
			if tt.args != "" {
				args = strings.Split(tt.args, " ") // two blanks: an empty argument
			}
			got := execute(t, netlab.New(t, true), tt.env, program, args...)
			if got.code != tt.code {
				t.Errorf("exit code %d, want %d", got.code, tt.code)
			}
			if tt.silent && got.stderr != "" {
				t.Errorf("stderr:\n%s\nwant nothing", got.stderr)
			}
			if !strings.Contains(got.stdout, tt.stdout) || !strings.Contains(got.stderr, tt.stderr) {
				t.Errorf("stdout:\n%s\nstderr:\n%s\nwant %q and %q in them", got.stdout, got.stderr, tt.stdout, tt.stderr)
			}
		})
	}
}

// TestValidation loads rules as another program would and lets the program, without any
// privilege, find out whether they are in force.
func TestValidation(t *testing.T) {
	program := build(t)
	if err := os.Chmod(filepath.Dir(program), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(filepath.Dir(program)), 0o755); err != nil {
		t.Fatal(err)
	}
	proxy, other := &syscall.Credential{Uid: 1337, Gid: 1337}, &syscall.Credential{Uid: 1000, Gid: 1000}
	widened := []string{"ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR=127.0.0.0/8"}
	tests := []struct {
		name   string
		rules  string // nothing is loaded if empty
		env    []string
		user   *syscall.Credential
		args   string
		code   int
		stdout string
	}{
		{name: "captured", rules: "-i * -b *", user: proxy, stdout: "interception is as configured"},
		{name: "captured with TPROXY", rules: "-m TPROXY -i * -b *", user: proxy, args: "-m TPROXY"},
		{name: "captured with a wide loopback", rules: "-i *", env: widened, user: proxy},
		{name: "captured in both families", rules: "-i * -b *", user: proxy, args: "--dual-stack"},
		{name: "another port", rules: "-b *", user: proxy, args: "--iptables-probe-port 4711"},
		{name: "no rules", user: proxy, code: 126, stdout: "no connection to 127.0.0.6:15002 came to the proxy's ports"},
		{name: "not the proxy", rules: "-i * -b *", user: other, code: 126, stdout: "does this container not run as the proxy's user"},
		{name: "rules without mode", user: proxy, args: "-m NONE"},
		{name: "not asked", user: proxy, args: "--run-validation=false"},
		{name: "no port is free", rules: "-b *", user: proxy, args: "-p 15008 -z 15009", code: 1, stdout: "none of the proxy's ports is free"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			lab := netlab.New(t, true)
			lab.Serve(t, []uint16{15008, 15009}, nil)
			if tt.rules != "" {
				if got := execute(t, lab, tt.env, program, strings.Fields(tt.rules)...); got.code != 0 {
					t.Fatal(got)
				}
			}
			args := append([]string{"--run-validation", "--skip-rule-apply", "--probe-timeout=1200ms"}, strings.Fields(tt.args)...)
			got := executeAs(t, lab, tt.user, tt.env, program, args...)
			if got.code != tt.code || !strings.Contains(got.stdout, tt.stdout) {
				t.Errorf("exit code %d, stdout:\n%s\nwant %d and %q", got.code, got.stdout, tt.code, tt.stdout)
			}
		})
	}
	t.Run("one family of two", func(t *testing.T) {
		lab := netlab.New(t, true)
		if got := execute(t, lab, nil, program, "-b", "*"); got.code != 0 {
			t.Fatal(got)
		}
		lab.Output(t, "ip6tables", "-t", "nat", "-F")
		args := []string{"--run-validation", "--skip-rule-apply", "--probe-timeout=1s"}
		if got := executeAs(t, lab, proxy, nil, program, args...); got.code != 0 {
			t.Errorf("the pod's first family is captured; exit code %d: %s", got.code, got.stdout)
		}
		got := executeAs(t, lab, proxy, []string{"ISTIO_DUAL_STACK=true"}, program, args...)
		if got.code != 126 || !strings.Contains(got.stdout, "IPv6 traffic is not captured") {
			t.Errorf("exit code %d: %s; want 126 and the family", got.code, got.stdout)
		}
	})
}

// TestValidationOnEachBackend: whoever wrote the rules, and with which options, the check
// of an unprivileged container finds them, in both families, and finds that they are gone.
func TestValidationOnEachBackend(t *testing.T) {
	program := build(t)
	for _, dir := range []string{filepath.Dir(program), filepath.Dir(filepath.Dir(program))} {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	proxy := &syscall.Credential{Uid: 1337, Gid: 1337}
	for _, backend := range []string{"--native-nftables", "--force-iptables-binary=nft", "--force-iptables-binary=legacy"} {
		t.Run(backend, func(t *testing.T) {
			lab := netlab.New(t, true)
			check := func(want int) {
				t.Helper()
				got := executeAs(t, lab, proxy, nil, program, "--run-validation", "--skip-rule-apply", "--dual-stack", "--probe-timeout=1s")
				if got.code != want {
					t.Errorf("exit code %d, want %d: %s", got.code, want, got.stdout)
				}
			}
			wide := []string{"ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR=127.0.0.0/8"}
			for _, rules := range []struct {
				args string
				env  []string
			}{
				{args: "-i * -b *"},
				{args: "-i * -b *", env: wide},
				{args: "-m TPROXY -i * -b *"},
				{args: "-m TPROXY -i * -b *", env: wide},
				{args: "-i * -b * --redirect-dns --capture-all-dns"},
				{args: "-m TPROXY -i 127.0.0.6,::6 --redirect-dns --capture-all-dns", env: wide},
				{args: "-b 80 -e 15002"},
			} {
				got := execute(t, lab, rules.env, program, append([]string{backend}, strings.Fields(rules.args)...)...)
				if strings.Contains(got.stdout, "is the kernel module there") {
					t.Logf("this kernel lacks the backend: %s", got.stdout)
					return
				}
				if got.code != 0 {
					t.Fatalf("%s: %+v", rules.args, got)
				}
				check(0)
			}
			if got := execute(t, lab, nil, program, "--cleanup-only"); got.code != 0 {
				t.Fatal(got)
			}
			check(126)
		})
	}
}

// TestLinksLittle: the program starts fast because it links neither gRPC nor Kubernetes.
func TestLinksLittle(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for path := range strings.Lines(string(out)) {
		for _, heavy := range []string{"google.golang.org/", "k8s.io/", "istio.io/", "github.com/envoyproxy/", "crypto/tls", "net/http"} {
			if strings.HasPrefix(path, heavy) {
				t.Errorf("links %s", path)
			}
		}
	}
}

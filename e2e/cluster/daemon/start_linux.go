package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluicemesh/sluice/e2e/cluster/cache"
	"github.com/sluicemesh/sluice/e2e/cluster/capability"
	"github.com/sluicemesh/sluice/e2e/cluster/proc"
)

const (
	startTimeout = 60 * time.Second
	stopTimeout  = 60 * time.Second
	poll         = 100 * time.Millisecond
	runtimeName  = "sluice-caprunc"
)

// start brings our engine up. The caller holds the docker lock.
func (e Engine) start(ctx context.Context) error {
	if os.Geteuid() != 0 {
		return errors.New("no Docker engine answers and starting one needs root: start Docker, or run this as root")
	}
	if err := e.Packages.Need(ctx, "dockerd", "docker", "runc", "containerd", "iptables", "ip"); err != nil {
		return err
	}
	if alive(e.pidFile(), "dockerd") { // an interrupted run started it a moment ago, or it hangs
		if e.await(ctx, func() error { return nil }) == nil {
			return nil
		}
		if err := e.Stop(ctx); err != nil {
			return err
		}
	}
	if err := e.clear(); err != nil {
		return err
	}
	arguments, err := e.arguments(ctx)
	if err != nil {
		return err
	}
	rules, err := openFirewall()
	if err != nil {
		return err
	}
	dropping, err := rules.drops()
	if err != nil {
		return err
	}
	err = e.Store.Out.Step(ctx, "start a Docker engine", func(ctx context.Context) error {
		return e.launch(ctx, arguments)
	})
	if err != nil || dropping {
		return err
	}
	return rules.allow()
}

// clear removes what a dead engine left, so that it cannot stop the next start: dockerd refuses to run when its process
// number file names any live process, which after a reboot may be anything.
func (e Engine) clear() error {
	for _, dir := range []string{e.runDir(), e.dataRoot()} {
		if err := os.MkdirAll(dir, 0o711); err != nil {
			return fmt.Errorf("make engine directory: %w", err)
		}
	}
	stale := []string{e.socket(), e.pidFile()}
	if containerd := filepath.Join(e.runDir(), "exec", "containerd", "containerd.pid"); !alive(containerd, "containerd") {
		stale = append(stale, containerd)
	}
	for _, path := range stale {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove leftover of a dead engine: %w", err)
		}
	}
	return nil
}

// arguments are those of dockerd. The wrapper runtime is built and registered only where a capability is missing.
func (e Engine) arguments(ctx context.Context) ([]string, error) {
	config := filepath.Join(e.dataDir(), "daemon.json")
	if err := os.WriteFile(config, []byte("{}\n"), 0o600); err != nil { // so that the machine's own is not read
		return nil, fmt.Errorf("write engine configuration: %w", err)
	}
	arguments := []string{
		"dockerd", "--config-file", config, "--data-root", e.dataRoot(), "--exec-root", filepath.Join(e.runDir(), "exec"),
		"--pidfile", e.pidFile(), "--host", e.address(), "--bridge", "none", "--log-level", "warn",
	}
	missing, err := capability.OfHost()
	if err != nil || len(missing) == 0 {
		return arguments, err
	}
	e.Store.Out.Say("  this host lacks %s: containers start without", strings.Join(missing, ", "))
	wrapper := filepath.Join(e.dataDir(), "caprunc")
	err = proc.Run(ctx, proc.Command{
		Args: []string{"go", "build", "-trimpath", "-o", wrapper, "./e2e/cluster/cmd/caprunc"},
		Dir:  e.Module, Env: []string{"CGO_ENABLED=0"},
	})
	if err != nil {
		return nil, fmt.Errorf("build the runtime wrapper: %w", err)
	}
	return append(arguments, "--add-runtime", runtimeName+"="+wrapper, "--default-runtime", runtimeName), nil
}

// launch starts dockerd in a session of its own and returns once it answers.
func (e Engine) launch(ctx context.Context, arguments []string) error {
	log, err := os.OpenFile(e.logFile(), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("open engine log: %w", err)
	}
	defer log.Close()
	shared, err := withhold()
	if err != nil {
		return err
	}
	defer shared()
	cmd := exec.Command(arguments[0], arguments[1:]...) //nolint:noctx // it outlives the context on purpose
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start dockerd: %w", err)
	}
	err = e.await(ctx, func() error {
		if ended, err := unix.Wait4(cmd.Process.Pid, nil, unix.WNOHANG, nil); err == nil && ended != 0 {
			return errors.New("dockerd ended at once")
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("%w; the end of %s:%s", err, e.logFile(), e.logTail())
	}
	return cmd.Process.Release()
}

// withhold keeps a child from getting the descriptors that children share (our locks, a make job server, a lock of the calling
// shell): they must not live on in the engine. restore shares them again, with the children to come.
func withhold() (restore func(), err error) {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil, fmt.Errorf("list descriptors: %w", err)
	}
	var shared []uintptr
	for _, entry := range entries {
		fd, err := strconv.Atoi(entry.Name())
		if err != nil || fd <= 2 {
			continue
		}
		// The descriptor that listed the others is closed by now; asking for it fails, and it is left out.
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err == nil && flags&unix.FD_CLOEXEC == 0 {
			shared = append(shared, uintptr(fd))
		}
	}
	set := func(flags int) {
		for _, fd := range shared {
			_, _ = unix.FcntlInt(fd, unix.F_SETFD, flags) // fails only for a descriptor closed meanwhile
		}
	}
	set(unix.FD_CLOEXEC)
	return func() { set(0) }, nil
}

// await returns once our engine answers; failed says why there is no use in waiting on.
func (e Engine) await(ctx context.Context, failed func() error) error {
	deadline := time.Now().Add(startTimeout)
	for !e.Own(ctx) {
		if err := failed(); err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("dockerd does not answer after %s", startTimeout)
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Stop ends our engine, if it runs, and waits until it is gone. Its images stay in the cache. The caller has made sure that
// nothing runs in it and holds the docker lock.
func (e Engine) Stop(ctx context.Context) error {
	pid, running := process(e.pidFile(), "dockerd")
	if running {
		if err := unix.Kill(pid, unix.SIGTERM); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("end dockerd: %w", err)
		}
		deadline := time.Now().Add(stopTimeout)
		for alive(e.pidFile(), "dockerd") {
			if time.Now().After(deadline) {
				return fmt.Errorf("dockerd (process %d) does not end after %s", pid, stopTimeout)
			}
			if err := pause(ctx); err != nil {
				return err
			}
		}
	}
	if err := cache.Remove(e.runDir()); err != nil {
		return fmt.Errorf("remove engine sockets: %w", err)
	}
	if _, found := e.Find(ctx); found {
		return nil // the machine's own engine works with chains of the same names
	}
	rules, err := openFirewall()
	if err != nil {
		return err
	}
	return rules.clean()
}

func (e Engine) logTail() string {
	text, err := os.ReadFile(e.logFile())
	if err != nil {
		return " " + err.Error()
	}
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	return "\n" + string(bytes.Join(lines[max(0, len(lines)-10):], []byte("\n")))
}

// process reads a process number file and reports whether that process lives and really is the program.
func process(pidFile, program string) (pid int, running bool) {
	text, err := os.ReadFile(pidFile)
	if err != nil {
		return 0, false
	}
	pid, err = strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, false
	}
	executable, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "exe"))
	return pid, err == nil && strings.TrimSuffix(filepath.Base(executable), " (deleted)") == program
}

func alive(pidFile, program string) bool {
	_, running := process(pidFile, program)
	return running
}

func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(poll):
		return nil
	}
}

package xtables

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// child is one run of a program.
//
// Package os/exec is not used: for each child it would run several threads, pipes and, the
// first time, a further process to find out what the kernel can do, which together take
// longer than some of the programs.
type child struct {
	family rule.Family
	path   string
	args   []string
	stdin  string
	stdout string // set by run
}

// process is a child that runs. Its files are in memory, so that nobody needs to feed or
// drain it: it comes to its end even if this process is killed.
type process struct {
	pid, pidfd            int
	stdin, stdout, stderr *os.File
}

// run starts all programs from the calling thread, in whose namespace they act, and waits
// for all of them; when ctx ends, it ends them. The error carries what those that failed
// said.
func (k *Kernel) run(ctx context.Context, list []child) error {
	running := make([]process, len(list))
	errs := make([]error, len(list))
	for i := range list {
		errs[i] = running[i].start(list[i], k.environment())
	}
	stop := context.AfterFunc(ctx, func() {
		for _, p := range running {
			if p.pidfd > 0 {
				_ = unix.PidfdSendSignal(p.pidfd, unix.SIGKILL, nil, 0) // gone already, or ends by itself
			}
		}
	})
	for i := range list {
		if errs[i] == nil {
			list[i].stdout, errs[i] = running[i].wait()
		}
		if errs[i] != nil {
			errs[i] = fmt.Errorf("%s: %w", strings.Join(list[i].argv(), " "), errs[i])
		}
	}
	if !stop() {
		errs = append(errs, ctx.Err())
	}
	for i := range running {
		running[i].close()
	}
	return errors.Join(errs...)
}

func (c child) argv() []string { return append([]string{c.path}, c.args...) }

// environment is what programs are to know of this process's environment.
func (k *Kernel) environment() []string {
	env := os.Environ()
	if k.lockFile != "" {
		env = append(env, "XTABLES_LOCKFILE="+k.lockFile)
	}
	return env
}

// start starts c. On an error there is nothing to wait for, but to close.
func (p *process) start(c child, env []string) error {
	var err error
	for _, f := range []**os.File{&p.stdin, &p.stdout, &p.stderr} {
		if *f, err = memoryFile(); err != nil {
			return err
		}
	}
	if _, err := p.stdin.WriteAt([]byte(c.stdin), 0); err != nil {
		return err
	}
	p.pid, err = syscall.ForkExec(c.path, c.argv(), &syscall.ProcAttr{
		Env:   env,
		Files: []uintptr{p.stdin.Fd(), p.stdout.Fd(), p.stderr.Fd()},
		Sys:   &syscall.SysProcAttr{PidFD: &p.pidfd},
	})
	return err
}

// wait returns what the process wrote to its standard output. The error of one that failed
// carries what it wrote to the other.
func (p *process) wait() (string, error) {
	var status syscall.WaitStatus
	for {
		_, err := syscall.Wait4(p.pid, &status, 0, nil)
		if err == nil {
			break
		}
		if !errors.Is(err, syscall.EINTR) {
			return "", fmt.Errorf("wait: %w", err)
		}
	}
	stdout, err := contents(p.stdout)
	if err == nil && status.Signaled() {
		err = fmt.Errorf("ended by signal %d (%v)", status.Signal(), status.Signal())
	}
	if err == nil && status.ExitStatus() != 0 {
		err = fmt.Errorf("exit status %d", status.ExitStatus())
	}
	if err == nil {
		return stdout, nil
	}
	said, readErr := contents(p.stderr)
	return "", errors.Join(fmt.Errorf("%w: %s", err, strings.TrimSpace(said)), readErr)
}

func (p *process) close() {
	for _, f := range []*os.File{p.stdin, p.stdout, p.stderr} {
		if f != nil {
			_ = f.Close() // nothing is buffered that could fail
		}
	}
	if p.pidfd > 0 {
		_ = unix.Close(p.pidfd)
	}
}

// memoryFile makes an empty file without a name.
func memoryFile() (*os.File, error) {
	fd, err := unix.MemfdCreate("rules", unix.MFD_CLOEXEC|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3, where the flag is not known
		fd, err = unix.MemfdCreate("rules", unix.MFD_CLOEXEC)
	}
	if err != nil {
		return nil, fmt.Errorf("make a file in memory: %w", err)
	}
	return os.NewFile(uintptr(fd), "rules"), nil
}

// contents is all of a file, wherever it was written to last.
func contents(f *os.File) (string, error) {
	b, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<30))
	return string(b), err
}

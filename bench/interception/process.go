package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// use is what one or several runs took.
type use struct {
	wall time.Duration // from before the start of the first to the end of the last
	cpu  time.Duration // user and system, of the programs and of all that they waited for
}

// execute runs programs one after another in the calling thread's namespace. What they say is
// kept only for the error.
func execute(commands [][]string) (use, error) {
	var u use
	for _, argv := range commands {
		cmd := exec.Command(argv[0], argv[1:]...)
		start := time.Now()
		err := cmd.Run()
		u.wall += time.Since(start)
		if err != nil {
			return use{}, fmt.Errorf("%q: %w; %s", argv, err, again(argv))
		}
		u.cpu += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	}
	return u, nil
}

// again is what a program that failed says when it is run once more: pipes would have been
// measured, too.
func again(argv []string) string {
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	return fmt.Sprintf("once more: %v\n%s", err, bytes.TrimSpace(out))
}

// outline is what is counted of a run, apart from its times, since counting is slow.
type outline struct {
	processes int   // that ran a program, the first included
	peak      int64 // most memory that the first was resident with, in bytes
}

// count runs a program under a tracer, in the calling thread's namespace. The thread must be
// locked: it is the tracer.
//
// The kernel's own figure of a child's peak memory (rusage) would start with that of its
// parent, so the peak is read from /proc when the program is about to end.
func count(argv []string) (outline, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return outline{}, err
	}
	defer null.Close()
	pid, err := syscall.ForkExec(argv[0], argv, &syscall.ProcAttr{
		Env: os.Environ(), Files: []uintptr{null.Fd(), null.Fd(), null.Fd()},
		Sys: &syscall.SysProcAttr{Ptrace: true},
	})
	if err != nil {
		return outline{}, fmt.Errorf("trace %q: %w", argv, err)
	}
	o, status, err := follow(pid)
	if err != nil {
		return outline{}, fmt.Errorf("trace %q: %w", argv, err)
	}
	if status.ExitStatus() != 0 {
		return outline{}, fmt.Errorf("trace %q: exit code %d", argv, status.ExitStatus())
	}
	return o, nil
}

// follow traces a process that stopped at its first instruction, and all it starts, to the end.
func follow(pid int) (o outline, end unix.WaitStatus, err error) {
	var status unix.WaitStatus
	if _, err := unix.Wait4(pid, &status, unix.WALL, nil); err != nil {
		return o, end, err
	}
	const events = unix.PTRACE_O_TRACEFORK | unix.PTRACE_O_TRACEVFORK | unix.PTRACE_O_TRACECLONE |
		unix.PTRACE_O_TRACEEXEC | unix.PTRACE_O_TRACEEXIT | unix.PTRACE_O_EXITKILL
	if err := unix.PtraceSetOptions(pid, events); err != nil {
		return o, end, err
	}
	o.processes = 1
	for at := pid; ; {
		signal := 0
		switch {
		case status.Exited(), status.Signaled():
			if at == pid {
				end = status
			}
		case status.TrapCause() == unix.PTRACE_EVENT_EXEC:
			o.processes++
		case status.TrapCause() == unix.PTRACE_EVENT_EXIT && at == pid:
			if o.peak, err = peakOf(pid); err != nil {
				return o, end, err
			}
		// A new process starts with a stop of its own, which is not for it to see.
		case status.StopSignal() != unix.SIGTRAP && status.StopSignal() != unix.SIGSTOP:
			signal = int(status.StopSignal())
		}
		if status.Stopped() {
			// Whoever was killed meanwhile is reported by the next wait.
			if err := unix.PtraceCont(at, signal); err != nil && !errors.Is(err, unix.ESRCH) {
				return o, end, err
			}
		}
		// Only this thread's: others may run programs, too.
		at, err = unix.Wait4(-1, &status, unix.WALL|unix.WNOTHREAD, nil)
		switch {
		case errors.Is(err, unix.ECHILD):
			return o, end, nil
		case err != nil:
			return o, end, err
		}
	}
}

// peakOf reads the high-water mark of a process's resident memory.
func peakOf(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), "VmHWM:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("process %d has no VmHWM", pid)
}

// Package envoy starts and stops the Envoy process and talks to its admin interface.
//
// It owns exactly one child process. It takes a ready configuration file and does not know
// what is in it; it does not restart a process that ended: that is the kubelet's work.
package envoy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"
)

// killAfter is how long Envoy may take from SIGTERM to its end: it writes out its access
// logs in that time.
const killAfter = 2 * time.Second

// Options are Envoy's command line.
type Options struct {
	Binary            string
	ConfigFile        string
	OverrideYAML      string // merged over the file by Envoy; empty: nothing
	LogLevel          string
	ComponentLogLevel string
	Concurrency       int // 0: all cores
	DrainTime         time.Duration
	FileFlush         time.Duration
	FileFlushMinKB    uint32
	SkipDeprecated    bool
	LocalV6           bool
}

// Args is the command line without the program.
func (o Options) Args() []string {
	version := "v4"
	if o.LocalV6 {
		version = "v6"
	}
	args := []string{
		"-c", o.ConfigFile,
		"--drain-time-s", strconv.Itoa(int(o.DrainTime / time.Second)),
		"--drain-strategy", "immediate",
		"--local-address-ip-version", version,
		"--file-flush-interval-msec", strconv.FormatInt(o.FileFlush.Milliseconds(), 10),
		"--disable-hot-restart",
		"--allow-unknown-static-fields",
	}
	if o.FileFlushMinKB > 0 {
		args = append(args, "--file-flush-min-size-kb", strconv.Itoa(int(o.FileFlushMinKB)))
	}
	args = append(args, "-l", o.LogLevel)
	if o.ComponentLogLevel != "" {
		args = append(args, "--component-log-level", o.ComponentLogLevel)
	}
	if o.SkipDeprecated {
		args = append(args, "--skip-deprecated-logs")
	}
	if o.OverrideYAML != "" {
		args = append(args, "--config-yaml", o.OverrideYAML)
	}
	if o.Concurrency > 0 {
		args = append(args, "--concurrency", strconv.Itoa(o.Concurrency))
	}
	return args
}

// Process is a running Envoy. Exactly one goroutine calls Wait.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when the process is gone
}

// Start starts Envoy with the given outputs; files are handed on as they are, so that access
// logs on /dev/stdout work. The caller has to Wait.
func Start(o Options, stdout, stderr io.Writer) (*Process, error) {
	cmd := exec.Command(o.Binary, o.Args()...)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start envoy: %w", err)
	}
	return &Process{cmd: cmd, done: make(chan struct{})}, nil
}

// PID is the process ID.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the process is gone.
func (p *Process) Done() <-chan struct{} { return p.done }

// ExitError is the end of an Envoy that nobody asked to stop.
type ExitError struct {
	Code   int            // exit code; -1 if a signal ended it
	Signal syscall.Signal // 0 if none
}

// Error says how the process ended, with a hint where the cause is known.
func (e *ExitError) Error() string {
	switch {
	case e.Signal == syscall.SIGKILL:
		return "envoy was killed: most likely it ran out of memory, raise the container's memory limit"
	case e.Signal != 0:
		return "envoy was ended by signal " + e.Signal.String()
	}
	return "envoy exited with code " + strconv.Itoa(e.Code)
}

// Wait returns when the process is gone: nil for exit code 0, else an *ExitError.
func (p *Process) Wait() error {
	err := p.cmd.Wait()
	close(p.done)
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	out := &ExitError{Code: exit.ExitCode()}
	if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		out.Signal = ws.Signal()
	}
	return out
}

// Stop asks Envoy to end, so that it writes out its logs, and kills it when it takes too
// long or when ctx is done. It returns when the process is gone; somebody else Waits.
func (p *Process) Stop(ctx context.Context) {
	p.signal(syscall.SIGTERM)
	t := time.NewTimer(killAfter)
	defer t.Stop()
	select {
	case <-p.done:
		return
	case <-t.C:
	case <-ctx.Done():
	}
	p.signal(syscall.SIGKILL)
	<-p.done
}

// signal sends sig unless the process is gone already.
func (p *Process) signal(sig os.Signal) {
	// The only error is that the process has ended, which is what is wanted.
	_ = p.cmd.Process.Signal(sig)
}

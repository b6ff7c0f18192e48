// Package machine reads what a figure must be quoted with: cores, processor, kernel, memory,
// and how busy the machine was while it was taken.
//
// It reads the proc file system of the machine it runs on, which for a local cluster is also
// that of the nodes. It changes nothing.
package machine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// Facts are what does not change during a run.
type Facts struct {
	Cores     int
	Processor string // empty where the kernel does not say
	Kernel    string
	MemoryMiB int64
}

// Load is a reading of how busy the machine is.
type Load struct {
	Average1 float64 // runnable tasks, averaged over a minute
	busy     uint64  // ticks of all cores since boot that were not idle
	total    uint64  // ticks of all cores since boot
}

// Read reads the facts. proc is where the proc file system is, usually /proc.
func Read(proc string) (Facts, error) {
	kernel, err := os.ReadFile(filepath.Join(proc, "sys", "kernel", "osrelease"))
	if err != nil {
		return Facts{}, fmt.Errorf("read kernel release: %w", err)
	}
	cpu, err := os.ReadFile(filepath.Join(proc, "cpuinfo"))
	if err != nil {
		return Facts{}, fmt.Errorf("read processor: %w", err)
	}
	memory, err := os.ReadFile(filepath.Join(proc, "meminfo"))
	if err != nil {
		return Facts{}, fmt.Errorf("read memory: %w", err)
	}
	kib, err := strconv.ParseInt(strings.TrimSuffix(field(string(memory), "MemTotal"), " kB"), 10, 64)
	if err != nil {
		return Facts{}, fmt.Errorf("read memory: %w", err)
	}
	return Facts{
		Cores: runtime.NumCPU(), Kernel: strings.TrimSpace(string(kernel)),
		Processor: field(string(cpu), "model name"), MemoryMiB: kib / 1024,
	}, nil
}

// field is the value of the first "name: value" line.
func field(text, name string) string {
	for l := range strings.Lines(text) {
		if key, value, ok := strings.Cut(l, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// String is the facts on one line.
func (f Facts) String() string {
	processor := f.Processor
	if processor == "" {
		processor = "unnamed processor"
	}
	return fmt.Sprintf("%d cores (%s), Linux %s, %d MiB", f.Cores, processor, f.Kernel, f.MemoryMiB)
}

// ReadLoad reads how busy the machine is now.
func ReadLoad(proc string) (Load, error) {
	average, err := os.ReadFile(filepath.Join(proc, "loadavg"))
	if err != nil {
		return Load{}, fmt.Errorf("read load: %w", err)
	}
	stat, err := os.ReadFile(filepath.Join(proc, "stat"))
	if err != nil {
		return Load{}, fmt.Errorf("read load: %w", err)
	}
	l, err := parseLoad(string(average), string(stat))
	if err != nil {
		return Load{}, fmt.Errorf("read load: %w", err)
	}
	return l, nil
}

// parseLoad reads the first line of /proc/stat: user nice system idle iowait irq softirq steal.
func parseLoad(average, stat string) (Load, error) {
	var l Load
	first, _, _ := strings.Cut(average, " ")
	var err error
	if l.Average1, err = strconv.ParseFloat(first, 64); err != nil {
		return Load{}, err
	}
	top, _, _ := strings.Cut(stat, "\n")
	words := strings.Fields(top)
	if len(words) < 9 || words[0] != "cpu" {
		return Load{}, errors.New("the first line of stat does not begin with cpu and eight counters")
	}
	for i, w := range words[1:9] { // guest time, which follows, is in user time already
		ticks, err := strconv.ParseUint(w, 10, 64)
		if err != nil {
			return Load{}, err
		}
		l.total += ticks
		if i != 3 && i != 4 { // idle, iowait
			l.busy += ticks
		}
	}
	return l, nil
}

// Busy is the part of the cores' time between two readings that was not idle, 0 to 1.
func (l Load) Busy(before Load) float64 {
	if l.total <= before.total {
		return 0
	}
	return float64(l.busy-before.busy) / float64(l.total-before.total)
}

// Since says how busy the machine was between two readings.
func (l Load) Since(before Load) string {
	return fmt.Sprintf("load %.1f before, %.1f after; all cores together %.0f %% busy meanwhile", before.Average1, l.Average1, 100*l.Busy(before))
}

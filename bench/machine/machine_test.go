package machine

import (
	"strings"
	"testing"
)

func TestField(t *testing.T) {
	const text = "processor\t: 0\nmodel name\t: Fast CPU @ 3.00GHz: really\nmodel name\t: another\nMemTotal:       24683524 kB\n"
	for name, want := range map[string]string{
		"model name": "Fast CPU @ 3.00GHz: really",
		"MemTotal":   "24683524 kB",
		"absent":     "",
	} {
		if got := field(text, name); got != want {
			t.Errorf("field(%s) = %q, want %q", name, got, want)
		}
	}
}

func TestLoadSince(t *testing.T) {
	before, err := parseLoad("0.50 0.40 0.30 1/99 1\n", "cpu  10 0 10 80 0 0 0 0 0 0\ncpu0 1 1\n")
	if err != nil {
		t.Fatal(err)
	}
	after, err := parseLoad("2.25 0.40 0.30 1/99 1\n", "cpu  30 1 25 130 20 1 2 1 5 5\n")
	if err != nil {
		t.Fatal(err)
	}
	// 110 ticks passed, 70 of them idle or waiting for a disk; guest time is not added.
	const want = "load 0.5 before, 2.2 after; all cores together 36 % busy meanwhile"
	if got := after.Since(before); got != want {
		t.Errorf("Since = %q, want %q", got, want)
	}
}

func TestParseLoadRefuses(t *testing.T) {
	for _, tt := range []struct{ average, stat string }{
		{"", "cpu 1 1 1 1 1 1 1 1\n"},
		{"1.0 1", "intr 1 1 1 1 1 1 1 1\n"},
		{"1.0 1", "cpu 1 1\n"},
		{"1.0 1", "cpu 1 1 x 1 1 1 1 1\n"},
	} {
		if l, err := parseLoad(tt.average, tt.stat); err == nil {
			t.Errorf("parseLoad(%q, %q) = %+v", tt.average, tt.stat, l)
		}
	}
}

func TestReadHere(t *testing.T) {
	facts, err := Read("/proc")
	if err != nil {
		t.Fatal(err)
	}
	if facts.Cores < 1 || facts.MemoryMiB < 1 || !strings.Contains(facts.String(), "Linux "+facts.Kernel) {
		t.Errorf("facts of this machine: %s", facts)
	}
	if _, err := ReadLoad("/proc"); err != nil {
		t.Error(err)
	}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Backends, as --backends names them.
const (
	byNft      = "iptables-nft"
	byLegacy   = "iptables-legacy"
	byNftables = "nftables"
)

func backendNames() []string { return []string{byNft, byLegacy, byNftables} }

// forced are the arguments that choose a backend.
func forced(backend string) []string {
	switch backend {
	case byNft:
		return []string{"--force-iptables-binary=nft"}
	case byLegacy:
		return []string{"--force-iptables-binary=legacy"}
	default:
		return []string{"--native-nftables"}
	}
}

// tools are the programs that are run.
type tools struct {
	dir     string // for files of a run
	init    string // sluice-init
	size    int64  // of it, in bytes
	nothing string // a static Go program that does nothing
	true    string // a program of C that does nothing
}

const nothingSource = "package main\n\nfunc main() {}\n"

// prepare builds what is to be measured in dir, sluice-init as an image has it.
func prepare(ctx context.Context, dir, program string) (tools, error) {
	t := tools{dir: dir, init: program, nothing: filepath.Join(dir, "nothing")}
	if t.init == "" {
		t.init = filepath.Join(dir, "sluice-init")
		if err := build(ctx, t.init, "github.com/sluicemesh/sluice/cmd/sluice-init"); err != nil {
			return tools{}, err
		}
	}
	info, err := os.Stat(t.init)
	if err != nil {
		return tools{}, fmt.Errorf("find the program to measure: %w", err)
	}
	t.size = info.Size()
	source := filepath.Join(dir, "nothing.go")
	if err := os.WriteFile(source, []byte(nothingSource), 0o600); err != nil {
		return tools{}, err
	}
	if err := build(ctx, t.nothing, source); err != nil {
		return tools{}, err
	}
	if t.true, err = exec.LookPath("true"); err != nil {
		return tools{}, err
	}
	return t, nil
}

func build(ctx context.Context, to, what string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", to, what)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w: %s", what, err, out)
	}
	return nil
}

// plain is how a bare tool loads the rules that a backend wrote in some case: one command for
// each family, or one for all of nftables. nil where the tool is not installed.
//
// The rules are what the kernel holds after sluice-init, as the tool's own listing has it.
func (t tools) plain(backend string, c setting) (commands [][]string, err error) {
	names := []string{"iptables" + flavourOf(backend), "ip6tables" + flavourOf(backend)}
	switch {
	case backend == byNftables:
		names = []string{"nft"}
	case !c.ipv6:
		names = names[:1]
	}
	where, err := newPlace(c.ipv6)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, where.close()) }()
	return commands, in(where.pod, func() error {
		if _, err := execute([][]string{slices.Concat([]string{t.init}, forced(backend), c.args)}); err != nil {
			return err
		}
		for _, name := range names {
			command, err := t.relist(name, filepath.Join(t.dir, fmt.Sprintf("%s-%s.rules", name, strings.ReplaceAll(c.name(), " ", "-"))))
			if err != nil || command == nil {
				commands = nil
				return err
			}
			commands = append(commands, command)
		}
		return nil
	})
}

// relist writes a tool's listing to file and returns the command that loads it.
func (t tools) relist(tool, file string) ([]string, error) {
	list, load := []string{tool + "-save"}, []string{tool + "-restore", "--noflush", file}
	if tool == "nft" {
		list, load = []string{tool, "-s", "list", "ruleset"}, []string{tool, "-f", file}
	}
	path, err := exec.LookPath(load[0])
	if err != nil {
		return nil, nil //nolint:nilerr // the tool is not a part of what is measured
	}
	load[0] = path
	rules, err := exec.Command(list[0], list[1:]...).Output()
	if err != nil {
		return nil, fmt.Errorf("list rules with %s: %w", list[0], err)
	}
	return load, os.WriteFile(file, rules, 0o600)
}

// flavourOf is the ending of the names of a flavour's programs.
func flavourOf(backend string) string {
	if backend == byLegacy {
		return "-legacy"
	}
	return "-nft"
}

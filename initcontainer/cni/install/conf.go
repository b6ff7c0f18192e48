package install

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sluicemesh/sluice/initcontainer/cni/conflist"
	"github.com/sluicemesh/sluice/initcontainer/cni/plugin"
)

// standaloneName is the file of a configuration of our own where the user names none. It
// comes last, so that no runtime takes it for the cluster's network.
const standaloneName = "YYY-istio-cni.conf"

// savedSuffix marks the configuration of a single plug-in that a list stands in for.
const savedSuffix = ".sluice-saved"

// configure puts the plug-in's entry into the configuration that counts and takes it out of
// all others.
func (i Installer) configure() (changed bool, err error) {
	if i.Standalone {
		text, err := plugin.Standalone(i.Plugin)
		if err != nil {
			return false, err
		}
		return i.replace(filepath.Join(i.NetDir, i.ownName()), text, 0o600)
	}
	target, err := i.target()
	if err != nil {
		return false, err
	}
	if changed, err = i.unchain(target); err != nil {
		return changed, err
	}
	wrote, err := i.chain(target)
	return changed || wrote, err
}

func (i Installer) ownName() string {
	if i.ConfName != "" {
		return i.ConfName
	}
	return standaloneName
}

// target names the configuration that the runtime takes: the first in lexical order that
// can be read.
func (i Installer) target() (string, error) {
	names, err := i.configurations()
	if err != nil {
		return "", err
	}
	for _, name := range names {
		if i.ConfName != "" && name != i.ConfName && name != listFor(i.ConfName) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(i.NetDir, name))
		if err != nil {
			return "", err
		}
		if strings.HasSuffix(name, ".conflist") {
			if conflist.Usable(text, plugin.Type) {
				return name, nil
			}
		} else if _, err := conflist.FromSingle(text); err == nil {
			return name, nil
		}
		i.Log.Warn("network configuration passed over: it has no plug-in to chain to", "file", name)
	}
	return "", ErrNoNetwork
}

// configurations lists the files of the folder that runtimes read, in their order.
func (i Installer) configurations() ([]string, error) {
	entries, err := os.ReadDir(i.NetDir) // sorted by name
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if !e.IsDir() && slices.Contains([]string{".conf", ".conflist", ".json"}, filepath.Ext(e.Name())) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// chain puts the entry into a configuration. One of a single plug-in is put away, and a list
// takes its place.
func (i Installer) chain(name string) (changed bool, err error) {
	entry, err := plugin.Entry(i.Plugin)
	if err != nil {
		return false, err
	}
	file := filepath.Join(i.NetDir, name)
	text, err := os.ReadFile(file)
	if err != nil {
		return false, err
	}
	if strings.HasSuffix(name, ".conflist") {
		with, err := conflist.Insert(text, entry)
		if err != nil {
			return false, fmt.Errorf("%s: %w", name, err)
		}
		return i.replace(file, with, others)
	}
	list, err := conflist.FromSingle(text)
	if err != nil {
		return false, fmt.Errorf("%s: %w", name, err)
	}
	if list, err = conflist.Insert(list, entry); err != nil {
		return false, fmt.Errorf("%s: %w", name, err)
	}
	if _, err := i.replace(listFor(file), list, others); err != nil {
		return false, err
	}
	return true, os.Rename(file, file+savedSuffix)
}

// listFor is the file of the list that stands in for the configuration of a single plug-in.
func listFor(file string) string { return strings.TrimSuffix(file, filepath.Ext(file)) + ".conflist" }

// unchain takes the entry out of every configuration but one, and gives back what a list
// stood in for.
func (i Installer) unchain(except string) (changed bool, err error) {
	names, err := i.configurations()
	if err != nil {
		return false, err
	}
	var failures []error
	for _, name := range names {
		file := filepath.Join(i.NetDir, name)
		if name == except || !strings.HasSuffix(name, ".conflist") {
			continue
		}
		wrote, err := i.unchainFrom(file)
		changed = changed || wrote
		if err != nil {
			failures = append(failures, fmt.Errorf("%s: %w", name, err))
		}
	}
	return changed, errors.Join(failures...)
}

func (i Installer) unchainFrom(file string) (changed bool, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return false, err
	}
	if !conflist.Has(text, plugin.Type) {
		return false, nil
	}
	for _, ext := range []string{".conf", ".json"} {
		original := strings.TrimSuffix(file, ".conflist") + ext
		if _, err := os.Stat(original + savedSuffix); err == nil {
			return true, giveBack(original, file)
		}
	}
	without, err := conflist.Remove(text, plugin.Type)
	if err != nil {
		return false, err
	}
	return i.replace(file, without, others)
}

// giveBack ends a list that stands in for the configuration of a single plug-in. One that
// was written anew meanwhile counts more than the one put away.
func giveBack(original, list string) error {
	if _, err := os.Stat(original); err == nil {
		return errors.Join(os.Remove(original+savedSuffix), os.Remove(list))
	}
	// The runtime prefers the one that comes back until the other is gone.
	return errors.Join(os.Rename(original+savedSuffix, original), os.Remove(list))
}

// Remove takes out what Run put in. The configuration is first, so that no pod waits for a
// program that is gone. Rules of running pods stay.
func (i Installer) Remove() error {
	_, err := i.unchain("")
	failures := []error{err}
	remove := []string{i.Kubeconfig, filepath.Join(i.BinDir, plugin.Type)}
	if i.Standalone {
		remove = append([]string{filepath.Join(i.NetDir, i.ownName())}, remove...)
	}
	for _, file := range remove {
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			failures = append(failures, err)
		}
	}
	return errors.Join(failures...)
}

// Command crdgen writes the custom resource definitions of charts/base from the pinned
// istio.io/api module.
//
// The module ships one generated file with every definition and schema. crdgen splits it
// into one file a definition, named plural.group.yaml, and trims what belongs to another
// project's installer (its labels) or is shown nowhere (descriptions of printer columns).
// It changes no name, version, schema, category or column. Run it from the repository's
// root: go run ./manifests/crdgen. A test compares its output with the committed files.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const (
	apiModule = "istio.io/api"
	target    = "manifests/charts/base/files/crds"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "crdgen:", err)
		os.Exit(1)
	}
}

// run regenerates the whole target folder; files of definitions that are gone are removed.
func run() error {
	source, version, err := pinned()
	if err != nil {
		return err
	}
	data, err := os.ReadFile(source)
	if err != nil {
		return fmt.Errorf("read definitions: %w", err)
	}
	files, err := split(data, version)
	if err != nil {
		return err
	}
	old, err := filepath.Glob(filepath.Join(target, "*.yaml"))
	if err != nil {
		return err
	}
	for _, name := range old {
		if err := os.Remove(name); err != nil {
			return err
		}
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(target, name), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// pinned returns the file with all definitions in the module version that go.mod names.
func pinned() (file, version string, err error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}\n{{.Version}}", apiModule).Output()
	if err != nil {
		return "", "", fmt.Errorf("find module %s: %w", apiModule, err)
	}
	dir, version, ok := strings.Cut(strings.TrimSpace(string(out)), "\n")
	if !ok || dir == "" {
		return "", "", fmt.Errorf("module %s is not downloaded: run go mod download", apiModule)
	}
	return filepath.Join(dir, "kubernetes", "customresourcedefinitions.gen.yaml"), version, nil
}

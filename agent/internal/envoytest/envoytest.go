// Package envoytest finds the Envoy binary that tests run. Only tests import it.
package envoytest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/sluicemesh/sluice/agent/config"
)

// Binary returns the Envoy to test with: ENVOY_BINARY, or the one in the cache outside the
// tree. Without one the test fails and says how to get it.
func Binary(t testing.TB) string {
	t.Helper()
	if path := os.Getenv("ENVOY_BINARY"); path != "" {
		return path
	}
	cache := os.Getenv("SLUICE_CACHE")
	if cache == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			t.Fatalf("no cache directory (set SLUICE_CACHE or ENVOY_BINARY): %v", err)
		}
		cache = filepath.Join(base, "sluice")
	}
	path := filepath.Join(cache, "envoy", config.EnvoyVersion, "envoy")
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("no Envoy at %s: `make images` puts it there, or set ENVOY_BINARY to an Envoy %s", path, config.EnvoyVersion)
	}
	return path
}

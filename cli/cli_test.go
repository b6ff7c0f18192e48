package cli

import (
	"context"
	"os"
	"testing"

	"github.com/go-logr/logr"
	"github.com/rogpeppe/go-internal/testscript"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"
)

// TestMain lets scripts call this test program as sluice and as kubectl-sluice.
func TestMain(m *testing.M) {
	run := func() {
		os.Exit(Run(context.Background(), Config{
			In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Version: "9.9.9", Program: os.Args[0], NoColor: os.Getenv("NO_COLOR") != "",
		}, os.Args[1:]))
	}
	ctrllog.SetLogger(logr.Discard())
	testscript.Main(m, map[string]func(){"sluice": run, "kubectl-sluice": run})
}

// TestScripts runs what needs no cluster.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/script", UpdateScripts: os.Getenv("UPDATE_GOLDEN") == "1"})
}

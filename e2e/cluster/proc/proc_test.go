package proc

import (
	"context"
	"errors"
	"strings"
	"testing"
)

func TestRun(t *testing.T) {
	out, err := Output(t.Context(), "sh", "-c", "echo noise >&2; printf 'one\\ntwo\\n\\n'")
	if err != nil || out != "one\ntwo" {
		t.Errorf("Output = %q, %v; want standard output only, without final newlines", out, err)
	}
	var saved strings.Builder
	err = Run(t.Context(), Command{
		Args: []string{"sh", "-c", "cat; pwd; echo $GREETING"}, Dir: "/", Env: []string{"GREETING=hi"}, Stdin: strings.NewReader("in\n"), Out: &saved,
	})
	if err != nil || saved.String() != "in\n/\nhi\n" {
		t.Errorf("Run wrote %q, %v", saved.String(), err)
	}
}

func TestRunFails(t *testing.T) {
	err := Run(t.Context(), Command{Args: []string{"sh", "-c", "seq 20; echo last >&2; exit 3"}})
	if err == nil {
		t.Fatal("Run of a failing program = nil")
	}
	lines := strings.Split(err.Error(), "\n")
	if lines[0] != "run sh -c seq 20; echo last >&2; exit 3: exit status 3" || lines[1] != "7" || lines[len(lines)-1] != "last" {
		t.Errorf("error %q; want the program, its status and its last 15 lines", err)
	}
}

func TestRunEndsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Run(ctx, Command{Args: []string{"sleep", "1000"}}); !errors.Is(err, context.Canceled) {
		t.Errorf("Run with an ended context = %v; want context.Canceled", err)
	}
}

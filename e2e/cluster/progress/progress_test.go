package progress

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said strings.Builder
		err := New(&said).Step(t.Context(), "build", func(context.Context) error {
			time.Sleep(25 * time.Second) //nolint:forbidigo // the fake time of synctest
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if want := "• build\n  build … 10s\n  build … 20s\n✓ build: 25s\n"; said.String() != want {
			t.Errorf("said %q; want %q", said.String(), want)
		}
	})
}

func TestStepFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said strings.Builder
		broken := errors.New("broken")
		err := New(&said).Step(t.Context(), "build", func(context.Context) error {
			time.Sleep(1234 * time.Millisecond) //nolint:forbidigo // the fake time of synctest
			return broken
		})
		if !errors.Is(err, broken) {
			t.Errorf("Step = %v; want the error of what was done", err)
		}
		if want := "• build\n✗ build: failed after 1.2s\n"; said.String() != want {
			t.Errorf("said %q; want %q", said.String(), want)
		}
	})
}

func TestElapsed(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 340 * time.Millisecond: "300ms", 59 * time.Second: "59s", 283400 * time.Millisecond: "4m43s",
	} {
		if got := Elapsed(d); got != want {
			t.Errorf("Elapsed(%d) = %s; want %s", d, got, want)
		}
	}
}

package machine

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// readings plays loads whose cores were busy by turns so many percent; the last goes on.
func readings(percents ...uint64) func() (Load, error) {
	var l Load
	return func() (Load, error) {
		if l.total > 0 && len(percents) > 0 {
			l.busy += percents[0]
			if len(percents) > 1 {
				percents = percents[1:]
			}
		}
		l.total += 100
		return l, nil
	}
}

func TestQuiet(t *testing.T) {
	for _, tt := range []struct {
		name   string
		below  float64
		busy   []uint64
		took   time.Duration
		missed int
	}{
		{"quiet at once", 0.4, []uint64{40}, 500 * time.Millisecond, 0},
		{"quiet at the third look", 0.4, []uint64{41, 90, 39, 90}, 1500 * time.Millisecond, 0},
		{"never", 0.4, []uint64{41}, 30 * time.Second, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := Quiet{Read: readings(tt.busy...), Below: tt.below}
				start := time.Now()
				if err := q.Wait(t.Context()); err != nil {
					t.Fatal(err)
				}
				if got := time.Since(start); got != tt.took || q.Missed != tt.missed || q.Waits != 1 {
					t.Errorf("waited %s, %d waits, %d missed; want %s, 1, %d", got, q.Waits, q.Missed, tt.took, tt.missed)
				}
			})
		})
	}
}

func TestQuietFails(t *testing.T) {
	broken := errors.New("no proc")
	q := Quiet{Read: func() (Load, error) { return Load{}, broken }, Below: 0.4}
	if err := q.Wait(t.Context()); !errors.Is(err, broken) {
		t.Errorf("Wait = %v, want %v", err, broken)
	}
	q.Below = 0 // not asked for: does not look
	if err := q.Wait(t.Context()); err != nil || q.Waits != 1 {
		t.Errorf("Wait = %v after %d waits; want nil after 1", err, q.Waits)
	}
}

package machine

import (
	"context"
	"time"
)

const (
	quietSample = 500 * time.Millisecond
	quietLimit  = 30 * time.Second
)

// Quiet waits until a machine that is shared has time for a measurement.
type Quiet struct {
	Read   func() (Load, error)
	Below  float64 // part of all cores' time that may be busy; 0 does not wait at all
	Waits  int     // how often Wait was called
	Missed int     // how often it gave up
}

// Wait returns once the machine was quiet for half a second, or was not for half a minute.
func (q *Quiet) Wait(ctx context.Context) error {
	if q.Below == 0 {
		return nil
	}
	q.Waits++
	before, err := q.Read()
	if err != nil {
		return err
	}
	tick := time.NewTicker(quietSample)
	defer tick.Stop()
	for waited := time.Duration(0); waited < quietLimit; waited += quietSample {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		now, err := q.Read()
		if err != nil {
			return err
		}
		if now.Busy(before) <= q.Below {
			return nil
		}
		before = now
	}
	q.Missed++
	return nil
}

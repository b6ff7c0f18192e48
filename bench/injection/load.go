package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// post sends one review and reads its answer.
func (s *subject) post(ctx context.Context, r review) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(r.body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := s.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s: %.300s", s.peer, response.Status, answer)
	}
	return answer, nil
}

// probe sends r and looks at the answer closely; all further ones have to be as long.
func (s *subject) probe(ctx context.Context, r review) (length int, err error) {
	answer, err := s.post(ctx, r)
	if err != nil {
		return 0, err
	}
	return len(answer), check(s.peer, r, answer)
}

// timed sends r and returns when the answer was there.
func (s *subject) timed(ctx context.Context, r review, length int) (time.Time, error) {
	answer, err := s.post(ctx, r)
	now := time.Now()
	if err == nil && len(answer) != length {
		err = fmt.Errorf("%s answers %d bytes after %d to the same review: %.300s", s.peer, len(answer), length, answer)
	}
	return now, err
}

// inTurn sends n reviews, each when the one before is answered.
func (s *subject) inTurn(ctx context.Context, r review, n int) ([]time.Duration, error) {
	length, err := s.probe(ctx, r)
	if err != nil {
		return nil, err
	}
	times := make([]time.Duration, n)
	for i := range times {
		start := time.Now()
		end, err := s.timed(ctx, r, length)
		if err != nil {
			return nil, err
		}
		times[i] = end.Sub(start)
	}
	return times, nil
}

// atOnce lets clients send one review after the other until the time is over.
func (s *subject) atOnce(ctx context.Context, r review, clients int, d time.Duration) ([]time.Duration, error) {
	length, err := s.probe(ctx, r)
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	var all []time.Duration
	end := time.Now().Add(d)
	group, ctx := errgroup.WithContext(ctx)
	for range clients {
		group.Go(func() error {
			var own []time.Duration
			for start := time.Now(); start.Before(end); start = time.Now() {
				at, err := s.timed(ctx, r, length)
				if err != nil {
					return err
				}
				own = append(own, at.Sub(start))
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, own...)
			return nil
		})
	}
	return all, group.Wait()
}

// arrival is a review that was sent at a time of its own.
type arrival struct {
	due, sent, answered time.Time
}

// atRate sends reviews at fixed times, whether those before are answered or not. As long as
// all connections are busy a review waits, and the wait counts: latency runs from when the
// review was due.
func (s *subject) atRate(ctx context.Context, r review, rate int, d time.Duration) ([]arrival, error) {
	length, err := s.probe(ctx, r)
	if err != nil {
		return nil, err
	}
	n := int(d.Seconds() * float64(rate))
	all := make([]arrival, n)
	next := make(chan *arrival, n) // never full: the schedule does not wait
	group, ctx := errgroup.WithContext(ctx)
	for range connections {
		group.Go(func() error {
			for a := range next {
				a.sent = time.Now()
				var err error
				if a.answered, err = s.timed(ctx, r, length); err != nil {
					return err
				}
			}
			return nil
		})
	}
	group.Go(func() error {
		defer close(next)
		start := time.Now()
		for i := range all {
			all[i].due = start.Add(time.Duration(i) * time.Second / time.Duration(rate))
			if err := until(ctx, all[i].due); err != nil {
				return err
			}
			next <- &all[i]
		}
		return nil
	})
	return all, group.Wait()
}

func until(ctx context.Context, t time.Time) error {
	wait := time.Until(t)
	if wait <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// Package change times how long a change of endpoints takes to reach a client's Envoy, and
// how much of that is the API server's.
//
// The endpoint of a Service without pods is replaced by another, again and again. Three see
// it: the caller, whose PATCH is answered; a plain watch of EndpointSlices, as the control
// plane has one; and the client's Envoy, whose administration port is asked all the time. All
// times are of this process's clock, from just before the PATCH is sent.
package change

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/sluicemesh/sluice/bench/figure"
	"github.com/sluicemesh/sluice/bench/scene"
)

const (
	settleLimit = 2 * time.Minute  // until Envoy has what was there before
	changeLimit = 30 * time.Second // until one change is seen by all
	pollPause   = time.Millisecond // between an answer of Envoy and the next question
	target      = "target"         // the Service that changes
)

// Config says what is measured.
type Config struct {
	Changes   int    // at least 1, at most 65,000
	Namespace string // of the client, which has a proxy, and of the Service that changes
	Client    string // pod
	Crowd     string // namespace with further Services, which the client is to have first
	Services  int    // that there are in Crowd
	// Before is called before each ten changes, to wait for a good moment.
	Before func(context.Context) error
}

// Sight is when one change was seen, since just before it was sent.
type Sight struct {
	Answered time.Duration // the PATCH returned
	Watched  time.Duration // the plain watch had it
	NotYet   time.Duration // the last question to Envoy was sent whose answer did not have it
	Shown    time.Duration // Envoy's answer with it was read
}

// Result is what was seen.
type Result struct {
	Services int
	Sights   []Sight
	Polls    []time.Duration // question to Envoy → answer: what a Shown can be late
}

// run is a measurement under way.
type run struct {
	scene    *scene.Scene
	config   Config
	envoy    *admin
	arrivals chan arrival
	result   Result
}

// arrival is an event of the plain watch.
type arrival struct {
	address string
	at      time.Time
}

// Measure makes the Service, changes it and returns what was seen. The client's Envoy must
// have shown every change, or it is an error.
func Measure(ctx context.Context, s *scene.Scene, cfg Config) (Result, error) {
	envoy, err := openAdmin(ctx, s, cfg.Namespace, cfg.Client)
	if err != nil {
		return Result{}, err
	}
	defer envoy.close()
	if _, err := s.Service(ctx, cfg.Namespace, target, scene.Address(0)); err != nil {
		return Result{}, err
	}
	s.Say("change: wait until the client's Envoy has all Services")
	if err := envoy.await(ctx, target+"."+cfg.Namespace+".svc", func(d string) bool { return holds(d, scene.Address(0)) }); err != nil {
		return Result{}, err
	}
	if cfg.Services > 0 {
		if err := envoy.await(ctx, cfg.Crowd+".svc", func(d string) bool { return clusters(d) == cfg.Services }); err != nil {
			return Result{}, err
		}
	}
	r := &run{scene: s, config: cfg, envoy: envoy, arrivals: make(chan arrival, cfg.Changes+1)}
	r.result.Services = cfg.Services
	if err := r.all(ctx); err != nil {
		return Result{}, err
	}
	return r.result, nil
}

// all makes the changes while a watch is open.
func (r *run) all(ctx context.Context) error {
	w, err := r.scene.Client.DiscoveryV1().EndpointSlices(r.config.Namespace).Watch(ctx, metav1.ListOptions{
		FieldSelector: fields.OneTermEqualSelector("metadata.name", target).String(),
	})
	if err != nil {
		return fmt.Errorf("watch endpoints: %w", err)
	}
	var group errgroup.Group
	group.Go(func() error { r.listen(w); return nil })
	err = r.each(ctx)
	w.Stop()
	return errors.Join(err, group.Wait())
}

// listen notes when events come, until the watch ends.
func (r *run) listen(w watch.Interface) {
	defer close(r.arrivals)
	for event := range w.ResultChan() {
		at := time.Now()
		slice, isSlice := event.Object.(*discoveryv1.EndpointSlice)
		if isSlice && event.Type == watch.Modified && len(slice.Endpoints) > 0 {
			r.arrivals <- arrival{slice.Endpoints[0].Addresses[0], at}
		}
	}
}

func (r *run) each(ctx context.Context) error {
	for i := range r.config.Changes {
		if i%10 == 0 {
			r.scene.Say("change: %d of %d", i, r.config.Changes)
			if err := r.config.Before(ctx); err != nil {
				return err
			}
		}
		// Pauses of different length, lest every change meet the same phase of some timer.
		if err := pause(ctx, time.Duration(40+i*17%60)*time.Millisecond); err != nil {
			return err
		}
		limited, cancel := context.WithTimeout(ctx, changeLimit)
		sight, err := r.one(limited, scene.Address(i+1))
		cancel()
		if err != nil {
			return fmt.Errorf("change %d: %w", i, err)
		}
		r.result.Sights = append(r.result.Sights, sight)
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// one replaces the endpoint and returns when who saw it.
func (r *run) one(ctx context.Context, address string) (Sight, error) {
	patch, err := json.Marshal(map[string]any{"endpoints": []map[string]any{{"addresses": []string{address}}}})
	if err != nil {
		return Sight{}, err
	}
	var s Sight
	group, ctx := errgroup.WithContext(ctx)
	start := time.Now()
	group.Go(func() error {
		_, err := r.scene.Client.DiscoveryV1().EndpointSlices(r.config.Namespace).Patch(ctx, target, types.MergePatchType, patch, metav1.PatchOptions{})
		s.Answered = time.Since(start)
		return err
	})
	group.Go(func() error { return r.poll(ctx, address, start, &s) })
	if err := group.Wait(); err != nil {
		return Sight{}, err
	}
	return s, r.watched(address, start, &s)
}

// poll asks Envoy until it shows the address.
func (r *run) poll(ctx context.Context, address string, start time.Time, s *Sight) error {
	name := target + "." + r.config.Namespace + ".svc"
	for {
		asked := time.Since(start)
		dump, err := r.envoy.endpoints(ctx, name)
		if err != nil {
			return err
		}
		answered := time.Since(start)
		r.result.Polls = append(r.result.Polls, answered-asked)
		if holds(dump, address) {
			s.Shown = answered
			return nil
		}
		s.NotYet = asked
		if err := pause(ctx, pollPause); err != nil {
			return fmt.Errorf("the client's Envoy does not show %s: %w", address, err)
		}
	}
}

// watched waits for the plain watch to have had the address.
func (r *run) watched(address string, start time.Time, s *Sight) error {
	timer := time.NewTimer(changeLimit)
	defer timer.Stop()
	for {
		select {
		case a, open := <-r.arrivals:
			if !open {
				return errors.New("the watch of endpoints ended")
			}
			if a.address == address {
				s.Watched = a.at.Sub(start)
				return nil
			}
		case <-timer.C:
			return fmt.Errorf("the watch of endpoints did not show %s within %s", address, changeLimit)
		}
	}
}

// Table is the figures as they are quoted.
func (r Result) Table() figure.Table {
	var answered, watched, notYet, shown, own []time.Duration
	for _, s := range r.Sights {
		answered = append(answered, s.Answered)
		watched = append(watched, s.Watched)
		notYet = append(notYet, s.NotYet)
		shown = append(shown, s.Shown)
		own = append(own, s.Shown-s.Watched)
	}
	return figure.Table{
		Title: fmt.Sprintf("Endpoint change → seen, ms (%d further Services)", r.Services),
		Head:  figure.Columns("PATCH sent →"),
		Rows: [][]string{
			figure.Of(answered).Cells("answered by the API server"),
			figure.Of(watched).Cells("event at a plain watch (the API server's share)"),
			figure.Of(shown).Cells("shown by the client's Envoy"),
			figure.Of(notYet).Cells("last question to Envoy before that, not yet shown"),
			figure.Of(own).Cells("shown by Envoy − event at the watch (the mesh's share)"),
			figure.Of(r.Polls).Cells("(one question to Envoy and its answer)"),
		},
		Notes: []string{
			"the change itself happened between “not yet shown” and “shown”: Envoy is asked through the API server's and the kubelet's port-forward",
			"an answer occupies Envoy's main thread, which takes changes in: asking makes it later, the more Services there are",
		},
	}
}

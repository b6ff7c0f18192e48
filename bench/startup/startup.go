// Package startup times pods from the call that creates them to the event that says that all
// their containers are ready, with the mesh and without, one of each in turn.
//
// The same pods give two more figures: the time of an admission as the API server sees it,
// and the time in which the rules of interception were installed. All times of pods are of
// this process's clock. It makes pods in namespaces it is given, and removes them.
package startup

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"

	"github.com/sluicemesh/sluice/bench/figure"
	"github.com/sluicemesh/sluice/bench/scene"
)

// limit is how long one pod may take.
const limit = 2 * time.Minute

// Names of what the webhook adds to a pod.
const (
	initName  = "istio-init"
	proxyName = "istio-proxy"
)

// Config says how much is measured.
type Config struct {
	Rounds   int    // pods of each kind that count; one more of each goes before
	Injected string // namespace with injection
	Plain    string // namespace without
	// Before is called before each pod, to wait for a good moment.
	Before func(context.Context) error
}

// Result is what was seen.
type Result struct {
	Plain, Injected []time.Duration // call to ready
	InitOver        []time.Duration // injected: call to the end of the init container
	ProxyReady      []time.Duration // injected: call to the proxy being ready
	Rules           []time.Duration // as the init container says in its log
	InitSeconds     []time.Duration // start to end of the init container, in the API's whole seconds
	Admission       Admission
}

// Measure makes the pods.
func Measure(ctx context.Context, s *scene.Scene, cfg Config) (Result, error) {
	var r Result
	var before Admission
	for i := range cfg.Rounds + 1 {
		s.Say("startup: round %d of %d", i, cfg.Rounds)
		if err := cfg.Before(ctx); err != nil {
			return Result{}, err
		}
		plain, err := one(ctx, s, cfg.Plain, fmt.Sprintf("plain-%d", i))
		if err != nil {
			return Result{}, err
		}
		if err := cfg.Before(ctx); err != nil {
			return Result{}, err
		}
		injected, err := one(ctx, s, cfg.Injected, fmt.Sprintf("injected-%d", i))
		if err != nil {
			return Result{}, err
		}
		if i == 0 { // the first of a namespace reads what later ones find in caches
			if before, err = readAdmission(ctx, s.Client.CoreV1().RESTClient()); err != nil {
				return Result{}, err
			}
			continue
		}
		if err := r.add(plain, injected); err != nil {
			return Result{}, err
		}
	}
	after, err := readAdmission(ctx, s.Client.CoreV1().RESTClient())
	if err != nil {
		return Result{}, err
	}
	r.Admission = after.since(before)
	return r, nil
}

// add takes one round in, if the pods are what they should be.
func (r *Result) add(plain, injected times) error {
	if plain.proxyReady != 0 {
		return errors.New("the pod of the namespace without injection has a proxy")
	}
	if injected.proxyReady == 0 {
		return errors.New("the pod of the namespace with injection has no proxy: is the mesh installed?")
	}
	r.Plain = append(r.Plain, plain.ready)
	r.Injected = append(r.Injected, injected.ready)
	r.ProxyReady = append(r.ProxyReady, injected.proxyReady)
	if injected.initOver == 0 {
		return nil // rules are written by the network plugin here
	}
	rules, err := took(injected.initLog)
	if err != nil {
		return err
	}
	r.InitOver = append(r.InitOver, injected.initOver)
	r.Rules = append(r.Rules, rules)
	r.InitSeconds = append(r.InitSeconds, injected.initRan)
	return nil
}

// times are of one pod, since the call; what it has not is 0.
type times struct {
	initOver, proxyReady, ready time.Duration
	initRan                     time.Duration
	initLog                     string
}

// one makes a pod, watches it become ready, and removes it.
func one(ctx context.Context, s *scene.Scene, namespace, name string) (times, error) {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	pods := s.Client.CoreV1().Pods(namespace)
	// The watch is there before the pod is, so no event is missed.
	w, err := pods.Watch(limited, metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", name).String()})
	if err != nil {
		return times{}, fmt.Errorf("watch pod %s/%s: %w", namespace, name, err)
	}
	defer w.Stop()
	start := time.Now()
	if _, err := pods.Create(limited, s.Sleeper(name), metav1.CreateOptions{}); err != nil {
		return times{}, fmt.Errorf("make pod %s/%s: %w", namespace, name, err)
	}
	var t times
	for event := range w.ResultChan() {
		pod, isPod := event.Object.(*corev1.Pod)
		if !isPod {
			return times{}, fmt.Errorf("watch pod %s/%s: %s", namespace, name, complaint(event.Object))
		}
		if !t.take(pod, time.Since(start)) {
			continue
		}
		if t.initOver != 0 {
			if t.initLog, err = s.Logs(limited, namespace, name, initName); err != nil {
				return times{}, err
			}
		}
		return t, s.DeletePod(ctx, namespace, name)
	}
	return times{}, fmt.Errorf("pod %s/%s was not ready within %s", namespace, name, limit)
}

func complaint(object any) string {
	if status, ok := object.(*metav1.Status); ok {
		return status.Message
	}
	if accessor, err := meta.Accessor(object); err == nil {
		return "unexpected object " + accessor.GetName()
	}
	return "unexpected event"
}

// take notes what a pod has reached at a time and reports whether that is all.
func (t *times) take(pod *corev1.Pod, at time.Duration) bool {
	for _, c := range append(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses...) {
		switch end := c.State.Terminated; {
		case c.Name == initName && end != nil && t.initOver == 0:
			t.initOver = at
			t.initRan = end.FinishedAt.Sub(end.StartedAt.Time)
		case c.Name == proxyName && c.Ready && t.proxyReady == 0:
			t.proxyReady = at
		}
	}
	if scene.Ready(pod) {
		t.ready = at
		return true
	}
	return false
}

// Tables are the figures as they are quoted.
func (r Result) Tables() []figure.Table {
	plain, injected := figure.Of(r.Plain), figure.Of(r.Injected)
	start := figure.Table{
		Title: "Pod created → all containers ready, ms",
		Head:  figure.Columns("pod"),
		Rows: [][]string{
			plain.Cells("not injected"),
			injected.Cells("injected"),
			figure.Of(r.InitOver).Cells("injected: init container seen to be over"),
			figure.Of(r.ProxyReady).Cells("injected: proxy seen to be ready"),
		},
		Notes: []string{
			fmt.Sprintf("the mesh adds %s ms (difference of the medians)", figure.Millis(injected.P50-plain.P50)),
			"create call → watch event, clock of the client, one pod of each kind in turn; the kubelet looks at its containers once a second",
		},
	}
	rules := figure.Table{
		Title: "Rules installed, ms",
		Head:  figure.Columns("what"),
		Rows: [][]string{
			figure.Of(r.Rules).Cells("detect, install and verify all families (its log)"),
			figure.Of(r.InitSeconds).Cells("container started → finished (whole seconds in the API)"),
		},
	}
	return []figure.Table{start, r.Admission.table(), rules}
}

package audit

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluicemesh/sluice/webhook/notice"
	"github.com/sluicemesh/sluice/webhook/policy"
)

// memory is a cache that the test fills by hand. What changes is told to the handlers at
// once.
type memory struct {
	mu         sync.Mutex
	version    int
	pods       map[string]*corev1.Pod
	namespaces map[string]map[string]string
	webhooks   []admissionv1.MutatingWebhookConfiguration
	handlers   map[string]toolscache.ResourceEventHandler
	lists      int // of pods
}

func newMemory() *memory {
	return &memory{
		pods: map[string]*corev1.Pod{}, namespaces: map[string]map[string]string{"shop": {"istio-injection": "enabled"}, "plain": {}},
		webhooks: []admissionv1.MutatingWebhookConfiguration{config()}, handlers: map[string]toolscache.ResourceEventHandler{},
	}
}

// informer hands out handlers; the methods that nobody calls are missing.
type informer struct {
	cache.Informer
	m    *memory
	kind string
}

type registration struct{}

func (registration) HasSynced() bool                          { return true }
func (registration) HasSyncedChecker() toolscache.DoneChecker { return nil }

func (i informer) AddEventHandler(h toolscache.ResourceEventHandler) (toolscache.ResourceEventHandlerRegistration, error) {
	i.m.mu.Lock()
	defer i.m.mu.Unlock()
	i.m.handlers[i.kind] = h
	return registration{}, nil
}

func (i informer) RemoveEventHandler(toolscache.ResourceEventHandlerRegistration) error {
	i.m.mu.Lock()
	defer i.m.mu.Unlock()
	delete(i.m.handlers, i.kind)
	return nil
}

func (m *memory) GetInformer(_ context.Context, o client.Object, _ ...cache.InformerGetOption) (cache.Informer, error) {
	return informer{m: m, kind: fmt.Sprintf("%T", o)}, nil
}

func (m *memory) Get(_ context.Context, key client.ObjectKey, o client.Object, _ ...client.GetOption) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	labels, ok := m.namespaces[key.Name]
	if !ok {
		return apierrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, key.Name)
	}
	n := o.(*corev1.Namespace)
	n.Name, n.Labels = key.Name, maps.Clone(labels)
	return nil
}

func (m *memory) List(_ context.Context, list client.ObjectList, opts ...client.ListOption) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch list := list.(type) {
	case *corev1.PodList:
		m.lists++
		var o client.ListOptions
		o.ApplyOptions(opts)
		for _, name := range slices.Sorted(maps.Keys(m.pods)) {
			if p := m.pods[name]; o.Namespace == "" || p.Namespace == o.Namespace {
				list.Items = append(list.Items, *p)
			}
		}
	case *admissionv1.MutatingWebhookConfigurationList:
		list.Items = slices.Clone(m.webhooks)
	}
	return nil
}

// set creates or changes a pod.
func (m *memory) set(pod *corev1.Pod) {
	m.mu.Lock()
	m.version++
	pod.ResourceVersion = fmt.Sprint(m.version)
	key := pod.Namespace + "/" + pod.Name
	old := m.pods[key]
	m.pods[key] = pod
	h := m.handlers["*v1.Pod"]
	m.mu.Unlock()
	if old == nil {
		h.OnAdd(pod, false)
		return
	}
	h.OnUpdate(old, pod)
}

func (m *memory) remove(pod *corev1.Pod) {
	m.mu.Lock()
	delete(m.pods, pod.Namespace+"/"+pod.Name)
	h := m.handlers["*v1.Pod"]
	m.mu.Unlock()
	h.OnDelete(toolscache.DeletedFinalStateUnknown{Obj: pod})
}

func (m *memory) label(namespace string, labels map[string]string) {
	m.mu.Lock()
	old, now := &corev1.Namespace{}, &corev1.Namespace{}
	old.Name, now.Name = namespace, namespace
	old.Labels, now.Labels = m.namespaces[namespace], labels
	m.namespaces[namespace] = labels
	h := m.handlers["*v1.Namespace"]
	m.mu.Unlock()
	h.OnUpdate(old, now)
}

// bench is an auditor at work on a memory, with what it says.
type bench struct {
	*memory
	t        *testing.T
	registry *prometheus.Registry
	changed  chan struct{}
	image    string
	mu       sync.Mutex
	events   []string
}

func (b *bench) Eventf(regarding, _ runtime.Object, kind, reason, _, note string, args ...any) {
	ref := regarding.(*corev1.ObjectReference)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.events = append(b.events, fmt.Sprintf("%s %s %s/%s: %s", kind, reason, ref.Namespace, ref.Name, fmt.Sprintf(note, args...)))
}

// said lists the Events so far.
func (b *bench) said() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.events)
}

// listed counts how often the pods were read as a whole.
func (m *memory) listed() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.lists
}

// start audits m in the background of the bubble, until the returned function is called.
func start(t *testing.T, m *memory) (*bench, func()) {
	t.Helper()
	b := &bench{memory: m, t: t, registry: prometheus.NewRegistry(), changed: make(chan struct{}, 1), image: imageNow}
	a, err := New(Config{
		Cache: m, Changed: b.changed, Notices: notice.NewBoard(b), Log: slog.New(slog.DiscardHandler),
		Lead: func(ctx context.Context, audit func(context.Context) error) error { return audit(ctx) },
		Revision: func(name string) (Revision, bool) {
			return Revision{
				Rules: policy.Rules{Policy: policy.Enabled},
				Image: func(*corev1.Pod) string { b.mu.Lock(); defer b.mu.Unlock(); return b.image },
			}, name == "default"
		},
	}, b.registry)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Start(ctx) }()
	synctest.Wait()
	return b, func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// gauges reads the series as "name{labels}" to value.
func (b *bench) gauges() map[string]float64 {
	b.t.Helper()
	families, err := b.registry.Gather()
	if err != nil {
		b.t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		for _, s := range f.Metric {
			out[f.GetName()+labelsOf(s)] = s.Gauge.GetValue()
		}
	}
	return out
}

func labelsOf(m *dto.Metric) string {
	var out string
	for _, l := range m.Label {
		out += " " + l.GetValue()
	}
	return out
}

// want compares the gauges after the time that changes are gathered.
func (b *bench) want(after time.Duration, want map[string]float64) {
	b.t.Helper()
	time.Sleep(after) //nolint:forbidigo // the bubble's clock
	synctest.Wait()
	if diff := cmp.Diff(want, b.gauges()); diff != "" {
		b.t.Errorf("gauges differ (-want +got):\n%s", diff)
	}
}

const settled = gather + time.Millisecond

func TestAuditorFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		for _, p := range []*corev1.Pod{bare("a"), bare("b", withProxy(imageNow)), bare("c", func(p *corev1.Pod) { p.Namespace = "plain" })} {
			m.pods[p.Namespace+"/"+p.Name] = p
		}
		b, stop := start(t, m)
		b.want(settled, map[string]float64{"sluice_uninjected_pods shop MissedAtCreation": 1})

		b.set(bare("d"))
		b.want(gather-time.Millisecond, map[string]float64{"sluice_uninjected_pods shop MissedAtCreation": 1})
		b.want(2*time.Millisecond, map[string]float64{"sluice_uninjected_pods shop MissedAtCreation": 2})
		if n := b.listed(); n != 1 {
			t.Errorf("the pods were listed %d times; want once, at the start", n)
		}

		b.remove(bare("a"))
		b.set(bare("d", withProxy(imageBefore)))
		b.want(settled, map[string]float64{"sluice_outdated_proxies shop": 1})

		b.label("plain", map[string]string{"istio-injection": "enabled"})
		b.want(settled, map[string]float64{"sluice_outdated_proxies shop": 1, "sluice_uninjected_pods plain MissedAtCreation": 1})

		b.label("plain", map[string]string{"istio-injection": "disabled"})
		b.mu.Lock()
		b.image = imageBefore
		b.mu.Unlock()
		b.changed <- struct{}{}
		b.want(settled, map[string]float64{"sluice_outdated_proxies shop": 1}) // now it is b

		stop()
		b.want(0, map[string]float64{})
		if len(m.handlers) != 0 {
			t.Errorf("handlers are left: %v", m.handlers)
		}
	})
}

func TestAuditorSaysEachOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, stop := start(t, newMemory())
		defer stop()
		b.set(bare("web-7d-x", ownedBy("ReplicaSet", "web-7d", map[string]string{"pod-template-hash": "7d"})))
		b.set(bare("db-0", ownedBy("StatefulSet", "db", nil), withProxy(imageBefore)))
		for range 5 {
			b.want(settled, map[string]float64{"sluice_outdated_proxies shop": 1, "sluice_uninjected_pods shop MissedAtCreation": 1})
			b.set(bare("db-0", ownedBy("StatefulSet", "db", nil), withProxy(imageBefore)))
		}
		b.want(2*afresh, map[string]float64{"sluice_outdated_proxies shop": 1, "sluice_uninjected_pods shop MissedAtCreation": 1})
		want := []string{
			"Normal OutdatedProxy shop/db-0: The pod runs proxy image example.com/proxyv2:1.0, injection now gives example.com/proxyv2:2.0. " +
				"To correct it: kubectl -n shop rollout restart statefulset/db [OutdatedProxy]",
			"Warning NotInjected shop/web-7d-x: The pod has no proxy: it was created while the injector was away, or before its namespace's " +
				"labels or the injector's settings asked for one. To correct it: kubectl -n shop rollout restart deployment/web [MissedAtCreation]",
		}
		if diff := cmp.Diff(want, slices.Sorted(slices.Values(b.said()))); diff != "" {
			t.Errorf("Events differ (-want +got):\n%s", diff)
		}
	})
}

// TestAuditorIsNotHeldUpByWhatWasSaid: a finding that comes back within ten minutes is not
// said again, and those after it are.
func TestAuditorIsNotHeldUpByWhatWasSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, stop := start(t, newMemory())
		defer stop()
		for _, pods := range [][]*corev1.Pod{{bare("a")}, {bare("a", withProxy(imageNow))}, {bare("a"), bare("b")}} {
			for _, p := range pods {
				b.set(p)
			}
			time.Sleep(settled) //nolint:forbidigo // the bubble's clock
			synctest.Wait()
		}
		if n := len(b.said()); n != 2 {
			t.Errorf("%d Events; want one for each pod: %v", n, b.said())
		}
	})
}

// TestAuditorIsBounded: a burst is one look at everything, and Events come at their pace
// until each was said.
func TestAuditorIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, stop := start(t, newMemory())
		defer stop()
		time.Sleep(settled) //nolint:forbidigo // the bubble's clock
		const pods = mostPods + 5
		for i := range pods {
			b.set(bare(fmt.Sprint("p", i)))
		}
		b.want(settled, map[string]float64{"sluice_uninjected_pods shop MissedAtCreation": pods})
		if n := b.listed(); n != 2 {
			t.Errorf("the pods were listed %d times; want twice", n)
		}
		if n := len(b.said()); n != 100 {
			t.Errorf("%d Events at once; want 100", n)
		}
		time.Sleep(40 * time.Minute) //nolint:forbidigo // the bubble's clock
		synctest.Wait()
		if n := len(b.said()); n != pods {
			t.Errorf("%d Events after a while; want %d", n, pods)
		}
	})
}

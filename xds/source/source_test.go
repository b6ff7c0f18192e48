package source

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"
)

func service(name, version string) *corev1.Service {
	return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, ResourceVersion: version}}
}

// words describes edits as "+name@version" and "-name".
func words(edits []Edit) []string {
	var out []string
	for _, e := range edits {
		if e.Deleted {
			out = append(out, "-"+e.Object.GetName())
		} else {
			out = append(out, "+"+e.Object.GetName()+"@"+e.Object.GetResourceVersion())
		}
	}
	return out
}

func TestQueueKeepsTheLastEditOfAnObject(t *testing.T) {
	q := NewQueue()
	q.Put(Edit{Object: service("a", "1")})
	q.Put(Edit{Object: service("b", "1")})
	q.Put(Edit{Object: service("a", "2")})
	q.Put(Edit{Object: &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "a", ResourceVersion: "7"}}})
	q.Put(Edit{Object: service("b", "1"), Deleted: true})
	<-q.Ready()
	edits, _ := q.Take()
	if diff := cmp.Diff([]string{"+a@2", "-b", "+a@7"}, words(edits)); diff != "" {
		t.Error(diff)
	}
	if edits, calls := q.Take(); len(edits)+len(calls) != 0 {
		t.Errorf("a second Take returned %v, %d calls", edits, len(calls))
	}
}

func TestQueueKeepsTheOrderOfCalls(t *testing.T) {
	q := NewQueue()
	var got []int
	for i := range 3 {
		q.Do(func() { got = append(got, i) })
	}
	_, calls := q.Take()
	for _, call := range calls {
		call()
	}
	if diff := cmp.Diff([]int{0, 1, 2}, got); diff != "" {
		t.Error(diff)
	}
}

func TestHandlerDropsResyncs(t *testing.T) {
	var edits []Edit
	h := handler(func(e Edit) { edits = append(edits, e) })
	h.OnAdd(service("a", "1"), true)
	h.OnUpdate(service("a", "1"), service("a", "1"))
	h.OnUpdate(service("a", "1"), service("a", "2"))
	h.OnDelete(toolscache.DeletedFinalStateUnknown{Key: "default/a", Obj: service("a", "2")})
	if diff := cmp.Diff([]string{"+a@1", "+a@2", "-a"}, words(edits)); diff != "" {
		t.Error(diff)
	}
}

func TestTrimPodKeepsWhatTheMeshNeeds(t *testing.T) {
	always := corev1.ContainerRestartPolicyAlways
	in := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "a", Labels: map[string]string{"app": "a"}, ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "x"}}},
		Spec: corev1.PodSpec{
			NodeName: "n1", ServiceAccountName: "sa", Volumes: []corev1.Volume{{Name: "v"}},
			InitContainers: []corev1.Container{{Name: "once"}, {Name: "istio-proxy", Image: "p", RestartPolicy: &always, Env: []corev1.EnvVar{{Name: "X"}}}},
			Containers:     []corev1.Container{{Name: "app", Image: "i", Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 80}}}},
		},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "10.0.0.1", Message: "m"},
	}
	want := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "a", Labels: map[string]string{"app": "a"}},
		Spec: corev1.PodSpec{
			NodeName: "n1", ServiceAccountName: "sa",
			InitContainers: []corev1.Container{{Name: "istio-proxy", Image: "p", RestartPolicy: &always}},
			Containers:     []corev1.Container{{Name: "app", Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 80}}}},
		},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "10.0.0.1"},
	}
	got, err := trimPod(in)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

package document

import (
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/sluicemesh/sluice/cli/workload"
)

// mark is an edit that adds, changes, moves and removes.
func mark(pod *corev1.Pod) *corev1.Pod {
	out := pod.DeepCopy()
	if out.Labels == nil {
		out.Labels = map[string]string{}
	}
	out.Labels["mesh"] = "yes"
	delete(out.Labels, "drop")
	proxy := corev1.Container{Name: "proxy", Image: "proxy:1", Env: []corev1.EnvVar{{Name: "ON", Value: "true"}}}
	out.Spec.Containers = append([]corev1.Container{proxy}, out.Spec.Containers...)
	for i := range out.Spec.Containers {
		if p := out.Spec.Containers[i].ReadinessProbe; p != nil {
			p.HTTPGet.Path = "/app-health"
		}
	}
	return out
}

func editAll(t *testing.T, docs []*Document) {
	t.Helper()
	for _, d := range docs {
		items, err := d.Items()
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range items {
			if err := d.Edit(item, mark(item.Pod)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestEdit(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"order, comments and unknown fields stay", `# the web server
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2 # two of them
  template:
    spec:
      containers:
      # the server
      - name: web
        image: "web:1"   # pinned
        readinessProbe:
          httpGet: {port: 80, path: /ready}
        mystery: on
    metadata:
      labels:
        drop: me
        app: web
`, `# the web server
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2 # two of them
  template:
    spec:
      containers:
      - env:
        - name: "ON"
          value: "true"
        image: proxy:1
        name: proxy
      # the server
      - name: web
        image: "web:1" # pinned
        readinessProbe:
          httpGet: {port: 80, path: /app-health}
        mystery: on
    metadata:
      labels:
        app: web
        mesh: "yes"
`},
		{"indented lists stay indented", `kind: Pod
apiVersion: v1
spec:
  containers:
    - name: a
`, `kind: Pod
apiVersion: v1
spec:
  containers:
    - env:
        - name: "ON"
          value: "true"
      image: proxy:1
      name: proxy
    - name: a
metadata:
  labels:
    mesh: "yes"
`},
		{"a CronJob is changed in the pods alone", `apiVersion: batch/v1
kind: CronJob
metadata: {name: c}
spec:
  schedule: "0 * * * *"
  jobTemplate:
    metadata: {labels: {app: c}}
    spec:
      template:
        spec: {containers: [{name: a}]}
`, `apiVersion: batch/v1
kind: CronJob
metadata: {name: c}
spec:
  schedule: "0 * * * *"
  jobTemplate:
    metadata: {labels: {app: c}}
    spec:
      template:
        metadata:
          labels:
            mesh: "yes"
        spec:
          containers:
          - env:
            - name: "ON"
              value: "true"
            image: proxy:1
            name: proxy
          - {name: a}
`},
		{"anchors are written out", `apiVersion: v1
kind: Pod
metadata:
  labels: &l {app: a}
  annotations: *l
spec:
  containers: [{name: a}]
`, `apiVersion: v1
kind: Pod
metadata:
  annotations:
    app: a
  labels:
    app: a
    mesh: "yes"
spec:
  containers:
  - env:
    - name: "ON"
      value: "true"
    image: proxy:1
    name: proxy
  - name: a
`},
		{"JSON stays JSON, with its indentation", `{
    "kind": "Pod",
    "apiVersion": "v1",
    "spec": {"containers": [{"name": "a", "command": ["a<b"]}]}
}
`, `{
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {
        "labels": {
            "mesh": "yes"
        }
    },
    "spec": {
        "containers": [
            {
                "env": [
                    {
                        "name": "ON",
                        "value": "true"
                    }
                ],
                "image": "proxy:1",
                "name": "proxy"
            },
            {
                "command": [
                    "a<b"
                ],
                "name": "a"
            }
        ]
    }
}
`},
		{"items of a list with a type", `apiVersion: v1
kind: PodList
items:
- {apiVersion: v1, kind: Pod, spec: {containers: []}}
`, `apiVersion: v1
kind: PodList
items:
- apiVersion: v1
  kind: Pod
  metadata:
    labels:
      mesh: "yes"
  spec:
    containers:
    - env:
      - name: "ON"
        value: "true"
      image: proxy:1
      name: proxy
`},
		{"items of a List, and what is beside them", `apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Service, metadata: {name: a}}   # kept
- apiVersion: v1
  kind: Pod
  spec: {containers: [{name: a}]}
---
# nothing here
--- # a comment at the dashes
apiVersion: v1
kind:   ConfigMap
`, `apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Service, metadata: {name: a}} # kept
- apiVersion: v1
  kind: Pod
  metadata:
    labels:
      mesh: "yes"
  spec:
    containers:
    - env:
      - name: "ON"
        value: "true"
      image: proxy:1
      name: proxy
    - {name: a}
---
# nothing here
--- # a comment at the dashes
apiVersion: v1
kind:   ConfigMap
`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			docs, err := Read("x", []byte(tt.in))
			if err != nil {
				t.Fatal(err)
			}
			editAll(t, docs)
			if d := cmp.Diff(tt.want, string(Write(docs))); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestUntouched: what is not edited comes back as it was.
func TestUntouched(t *testing.T) {
	for _, text := range []string{
		"", "\n", "---", "---\n---\n", "# only a comment\n",
		"a: b\n---\nkind:  ConfigMap\n...\n",
		"---\r\nkind: Pod\r\napiVersion: v1\r\nspec: {}\r\n---\r\na: 1\r\n",
		"text: |\n  --- not a separator\n---x: y\n",
		`{"kind":"Pod"} {"a": 1}` + "\n\n",
		"{kind: Pod}\n",
	} {
		docs, err := Read("x", []byte(text))
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		for _, d := range docs {
			items, err := d.Items()
			if err != nil {
				t.Fatal(err)
			}
			for _, item := range items {
				if err := d.Edit(item, item.Pod.DeepCopy()); err != nil {
					t.Fatal(err)
				}
			}
		}
		if got := string(Write(docs)); got != text {
			t.Errorf("read and written: %q; want %q", got, text)
		}
	}
}

// TestFiles: several files make one stream that reads as all of their objects.
func TestFiles(t *testing.T) {
	var files [][]*Document
	for _, text := range []string{"a: 1", "---\na: 2\n", "a: 3\n", `{"a":4}`, `{"a":5}`} {
		docs, err := Read("x", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, docs)
	}
	want := "a: 1\n---\na: 2\n---\na: 3\n---\n{\"a\":4}\n{\"a\":5}"
	if got := string(Write(files...)); got != want {
		t.Errorf("Write = %q; want %q", got, want)
	}
}

func TestReadRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"a: b\n---\n- 1\n":      "web.yaml: document 2: is \"[1]\" and no object",
		"a: [\n":                "web.yaml: document 1: ",
		"{\"a\": 1}\n{\"a\":\n": "web.yaml: document 2: ",
		"a: 1\n...\nb: 2\n":     "web.yaml: document 1: yaml: line 2: did not find expected <document start>",
	} {
		if _, err := Read("web.yaml", []byte(text)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("Read(%q) = %v; want %s…", text, err, want)
		}
	}
}

// TestItemsRefuses: of a key that is there twice, an edit could only meet one.
func TestItemsRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nmetadata: {name: b}\n":               `Pod b: "metadata" is there twice, in lines 3 and 4 of the document`,
		"apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - {name: a, image: b, name: c}\n": `Pod: "name" is there twice, in lines 5 and 5 of the document`,
		"apiVersion: v1\nkind: Widget\nspec: 1\nspec: 2\n":                                    "",
	} {
		docs, err := Read("web.yaml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if _, err = docs[0].Items(); want == "" && err != nil || want != "" && (err == nil || err.Error() != want) {
			t.Errorf("Items(%q) = %v; want %s", text, err, want)
		}
	}
}

// FuzzEdit: whatever the text, an edit gives a stream that means the edited objects, and
// what is not edited stays.
func FuzzEdit(f *testing.F) {
	for _, seed := range []string{
		"apiVersion: v1\nkind: Pod\nmetadata:\n  labels: {a: yes, b: 0x10}\nspec:\n  containers:\n  - name: a\n    args: [>\n      folded\n      text\n\n      more, no]\n",
		"apiVersion: apps/v1\nkind: Deployment\nspec:\n  template:\n    spec:\n      containers:\n      - {name: a, env: [{name: X, value: |\n  y\n}]}\n",
		`{"apiVersion":"v1","kind":"Pod","spec":{"containers":[{"name":"\u00e4\ud83d\ude00","args":["\u2028"]}]}}`,
		"apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - &a {name: a}\n  - <<: *a\n    name: b\n",
		"apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - name: a\n    args:\n    - >+\n      x\n\n      y\n\n    - \"\\u0007\"\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		docs, err := Read("x", []byte(text))
		if err != nil {
			return
		}
		for _, d := range docs {
			items, err := d.Items()
			if err != nil || len(items) != 1 {
				continue
			}
			want := mark(items[0].Pod)
			if err := d.Edit(items[0], want); err != nil {
				t.Fatalf("edit: %v", err)
			}
			again, err := Read("x", Write([]*Document{d}))
			if err != nil {
				t.Fatalf("read what was written: %v", err)
			}
			last := again[len(again)-1]
			if d.json {
				last = again[0]
			}
			kind, _ := workload.Of(last.Object)
			got, _, err := kind.Pod(last.Object)
			if err != nil || !reflect.DeepEqual(normal(t, got), normal(t, want)) {
				t.Fatalf("%v: wrote\n%s\nfor\n%s\n%s", err, last.text, text, cmp.Diff(want, got))
			}
		}
	})
}

func normal(t *testing.T, pod *corev1.Pod) any {
	t.Helper()
	out, err := Tree(pod)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

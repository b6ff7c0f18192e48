package picture_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/sluicemesh/sluice/e2e/demo/accesslog"
	"github.com/sluicemesh/sluice/e2e/demo/journey"
	"github.com/sluicemesh/sluice/e2e/demo/picture"
	"github.com/sluicemesh/sluice/internal/golden"
)

// story is what the cluster told about one request: the input of a golden case.
type story struct {
	Request string `json:"request"`
	Client  string `json:"client"` // namespace/name of the calling pod
	Caller  string `json:"caller"`
	Mark    string `json:"mark"`
	First   string `json:"first"` // app of the pods with the first proxy
	Answer  struct {
		Status       int    `json:"status"`
		Milliseconds int    `json:"milliseconds"`
		Text         string `json:"text"`
		Forwarded    string `json:"forwarded"`
	} `json:"answer"`
	Failure string            `json:"failure"`
	Pods    json.RawMessage   `json:"pods"`
	Logs    map[string]string `json:"logs"` // by namespace/name
}

func (s story) follow(t *testing.T) picture.Result {
	pods, err := journey.ParsePods(s.Pods)
	if err != nil {
		t.Fatal(err)
	}
	start := journey.Start{Caller: s.Caller, Mark: s.Mark}
	for _, p := range pods {
		if p.Namespace+"/"+p.Name == s.Client {
			start.Client = p
		}
		if p.App == s.First {
			start.First = append(start.First, p)
		}
	}
	j, err := journey.Follow(start, pods, func(p journey.Pod) ([]accesslog.Entry, error) {
		return accesslog.Read(s.Logs[p.Namespace+"/"+p.Name]), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	r := picture.Result{
		Request: s.Request, Status: s.Answer.Status, Took: time.Duration(s.Answer.Milliseconds) * time.Millisecond,
		Answer: s.Answer.Text, Journey: j, Failure: s.Failure,
	}
	if s.Answer.Forwarded != "" {
		var ok bool
		if r.Identities, ok = journey.ParseForwarded(s.Answer.Forwarded); !ok {
			t.Fatalf("no identities in %q", s.Answer.Forwarded)
		}
	}
	return r
}

// TestDraw goes from pods and logs, as the cluster gives them, to the text on the terminal.
func TestDraw(t *testing.T) {
	golden.Run(t, "testdata", "yaml", "txt", func(t *testing.T, in []byte) []byte {
		var s story
		if err := yaml.UnmarshalStrict(in, &s); err != nil {
			t.Fatal(err)
		}
		r := s.follow(t)
		return []byte(r.Journey.Shape() + "\n" + picture.Palette{}.Draw(r))
	})
}

func TestColoursAreClosed(t *testing.T) {
	p := picture.Colours()
	for name, text := range map[string]string{
		"title": p.Title("a", "b"),
		"draw":  p.Draw(picture.Result{Request: "GET http://a/", Status: 503, Failure: "want 200"}),
	} {
		opened := strings.Count(text, "\x1b[") - strings.Count(text, p.Reset)
		if opened == 0 || opened != strings.Count(text, p.Reset) {
			t.Errorf("%s: %d colours begin, %d end: %q", name, opened, strings.Count(text, p.Reset), text)
		}
	}
}

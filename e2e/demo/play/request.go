package play

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/sluicemesh/sluice/e2e/demo/accesslog"
	"github.com/sluicemesh/sluice/e2e/demo/journey"
	"github.com/sluicemesh/sluice/e2e/demo/picture"
	"github.com/sluicemesh/sluice/e2e/stage"
)

// The times that something is waited for at most.
const (
	settleLimit = 30 * time.Second // until proxies know what was applied
	logLimit    = 20 * time.Second // until all proxies have written their logs
)

// call is a request of the demonstration and what it is expected to do.
type call struct {
	text      string // as it is shown
	namespace string // of the sleep pod that sends it; empty: this machine, to the gateway
	host      string // from this machine: the Host header
	url       string // from this machine: the path
	header    string // one further header, "name: value"; may be empty
	first     string // app of the pod, in namespace, whose proxy sees it first; for this machine the gateway

	status int
	shape  string // of the journey
	// check looks at the answer; it returns what to show of it, and an error that says what
	// is wrong. nil: nothing to look at.
	check func(answer) (string, error)
	// identities says that the application answers with the certificate that it was told of.
	identities bool
}

// answer is what a caller got.
type answer struct {
	status int
	took   time.Duration
	server string // header of that name; only from this machine
	body   string
}

// send sends a call once. mark is its user agent.
func (d *director) send(ctx context.Context, c call, mark string) (answer, error) {
	if c.namespace == "" {
		return d.fetch(ctx, c, mark)
	}
	args := []string{"--user-agent", mark, "--write-out", `\n%{http_code} %{time_total}`}
	if c.header != "" {
		args = append(args, "--header", c.header)
	}
	out, err := d.st.Curl(ctx, c.namespace, append(args, c.url)...)
	if err != nil {
		return answer{}, err
	}
	return parseCurl(out)
}

// parseCurl reads a body with a last line "<status> <seconds>".
func parseCurl(out string) (answer, error) {
	i := strings.LastIndexByte(out, '\n')
	code, seconds, found := strings.Cut(out[i+1:], " ")
	status, err := strconv.Atoi(code)
	took, timeErr := strconv.ParseFloat(seconds, 64)
	if i < 0 || !found || err != nil || timeErr != nil {
		return answer{}, fmt.Errorf("curl printed no status: %q", out)
	}
	return answer{status: status, took: time.Duration(took * float64(time.Second)), body: out[:i]}, nil
}

// fetch sends a call from this machine to the ingress gateway.
func (d *director) fetch(ctx context.Context, c call, mark string) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+d.gateway+c.url, nil)
	if err != nil {
		return answer{}, err
	}
	req.Host = c.host
	req.Header.Set("User-Agent", mark)
	begin := time.Now()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{}, fmt.Errorf("read answer: %w", err)
	}
	return answer{resp.StatusCode, time.Since(begin), resp.Header.Get("Server"), string(body)}, nil
}

// settle sends a call until it is answered as expected: what was applied a moment ago
// reaches the proxies a moment later. A call that never is, is shown all the same; so there
// is an error only when the run is over.
func (d *director) settle(ctx context.Context, c call) error {
	_ = stage.Eventually(ctx, settleLimit, func(ctx context.Context) error {
		a, err := d.send(ctx, c, "sluice-demo")
		if err != nil {
			return err
		}
		_, err = c.judge(a)
		return err
	})
	return context.Cause(ctx)
}

// judge compares an answer with what is expected.
func (c call) judge(a answer) (text string, err error) {
	if c.check != nil {
		text, err = c.check(a)
	}
	if a.status != c.status {
		err = fmt.Errorf("status %d, want %d", a.status, c.status)
	}
	return text, err
}

// perform sends a call and finds out what became of it.
func (d *director) perform(ctx context.Context, c call) (picture.Result, error) {
	mark := "sluice-demo/" + rand.Text()
	a, err := d.send(ctx, c, mark)
	if err != nil {
		return picture.Result{Request: c.text, Failure: err.Error()}, context.Cause(ctx)
	}
	return d.observe(ctx, c, mark, a)
}

// observe follows a call that was answered and compares with what is expected.
func (d *director) observe(ctx context.Context, c call, mark string, a answer) (picture.Result, error) {
	r := picture.Result{Request: c.text, Status: a.status, Took: a.took}
	start, err := d.start(c, mark)
	if err != nil {
		return r, err
	}
	followErr := stage.Eventually(ctx, logLimit, func(ctx context.Context) error {
		j, err := journey.Follow(start, d.pods, d.reader(ctx))
		if len(j.Hops) >= len(r.Journey.Hops) { // a way that is not known to its end is shown as far as it is
			r.Journey = j
		}
		return err
	})
	if followErr != nil && !errors.Is(followErr, journey.ErrNotLogged) {
		return r, followErr
	}
	text, err := c.judge(a)
	r.Answer = text
	if c.identities {
		var told bool
		r.Identities, told = identities(a.body)
		if !told && err == nil {
			err = errors.New("the application was not told who calls")
		}
	}
	switch shape := r.Journey.Shape(); {
	case err != nil:
	case followErr != nil:
		err = followErr
	case shape != c.shape:
		err = fmt.Errorf("its way was %q, want %q", shape, c.shape)
	case r.Journey.Hops[0].Entry.Status != a.status: // there are hops where the shape is as wanted
		err = fmt.Errorf("the first proxy logged status %d", r.Journey.Hops[0].Entry.Status)
	}
	if err != nil {
		r.Failure = err.Error()
	}
	return r, nil
}

// start says where the way of a call begins.
func (d *director) start(c call, mark string) (journey.Start, error) {
	s := journey.Start{Mark: mark, Caller: "this machine"}
	namespace := "istio-system"
	if c.namespace != "" {
		var err error
		if s.Client, err = d.pod(c.namespace, "sleep"); err != nil {
			return s, err
		}
		namespace = "default"
	}
	for _, p := range d.pods {
		if p.Namespace == namespace && p.App == c.first {
			s.First = append(s.First, p)
		}
	}
	return s, nil
}

// reader reads the access log of each pod at most once.
func (d *director) reader(ctx context.Context) func(journey.Pod) ([]accesslog.Entry, error) {
	read := map[string][]accesslog.Entry{}
	return func(p journey.Pod) ([]accesslog.Entry, error) {
		key := p.Namespace + "/" + p.Name
		if entries, ok := read[key]; ok {
			return entries, nil
		}
		text, err := d.st.Kubectl(ctx, "-n", p.Namespace, "logs", p.Name, "-c", "istio-proxy", "--since=2m")
		if err != nil {
			return nil, err
		}
		read[key] = accesslog.Read(text)
		return read[key], nil
	}
}

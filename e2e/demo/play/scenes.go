package play

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/sluicemesh/sluice/e2e/demo/journey"
	"github.com/sluicemesh/sluice/e2e/stage"
)

// plainNamespace is the namespace of the client without a proxy.
const plainNamespace = "plain"

// scene is a part of the demonstration.
type scene struct {
	title, why string
	apply      []manifest
	calls      []call
	// each sends the only call until so many servers have answered, and shows one request to
	// each; 0: every call is sent once.
	each int
}

type manifest struct{ namespace, file string }

// scenes lists the demonstration. The objects of a scene stay for those that follow.
func (d *director) scenes() []scene {
	return []scene{
		{
			title: "Three replicas answer in turn",
			why:   "sleep calls a Service; its own proxy chooses the pod and speaks mutual TLS with the proxy there.",
			each:  3,
			calls: []call{inside("http://demoappv10:8080/", "sleep > proxy = proxy > demoapp", clientIs("127.0.0.6"))},
		},
		{
			title: "Both ends know who the other is",
			why:   "httpbin answers with the headers that it got: its proxy has told it the verified identities.",
			calls: []call{withIdentities(inside("http://httpbin:8000/headers", "sleep > proxy = proxy > httpbin", nil))},
		},
		{
			title: "A client without a proxy is served, in plain text",
			why:   "PERMISSIVE is the default: a mesh can be entered pod by pod.\nThis sleep runs in a namespace without injection.",
			calls: []call{{
				text: "GET http://httpbin.default:8000/headers", namespace: plainNamespace, url: "http://httpbin.default:8000/headers",
				first: "httpbin", status: http.StatusOK, shape: "sleep - proxy > httpbin", check: anonymous,
			}},
		},
		{
			title: "In through the ingress gateway",
			why:   "A Gateway opens port 80 for a host, a VirtualService says what is behind it.\nWhat no route matches gets 404 from the gateway.",
			apply: []manifest{
				{"istio-system", "samples/demoapp/gateway.yaml"},
				{"default", "samples/demoapp/virtualservice.yaml"},
				{"default", "samples/httpbin/httpbin-gateway.yaml"},
			},
			calls: []call{
				d.outside("demoapp.magedu.com", "/", http.StatusOK, "this machine - istio-ingressgateway = proxy > demoapp"),
				d.outside("httpbin.example.com", "/status/200", http.StatusOK, "this machine - istio-ingressgateway = proxy > httpbin"),
				d.outside("httpbin.example.com", "/1status/200", http.StatusNotFound, "this machine - istio-ingressgateway"),
			},
		},
		{
			title: "A canary, by header",
			why:   "A VirtualService sends what carries x-canary: true to the subset v11, and a tenth of the rest.",
			apply: []manifest{
				{"default", "samples/demoapp/destinationrule-subsets.yaml"},
				{"default", "samples/demoapp/virtualservice-canary.yaml"},
			},
			calls: []call{withHeader("x-canary: true", inside("http://demoapp:8080/version", "sleep > proxy = proxy > demoapp", says("Version: v1.1")))},
		},
		{
			title: "Out through the egress gateway",
			why:   "A ServiceEntry names the site, a VirtualService sends what is for it through the gateway.\nThe site, played by a server outside the mesh, sees the gateway's address.",
			apply: []manifest{{"default", "samples/egress/serviceentry.yaml"}, {"default", "samples/egress/egress-gateway.yaml"}},
			calls: []call{inside("http://"+stage.ExternalHost+"/", "sleep > proxy - istio-egressgateway - "+stage.ExternalHost, d.fromEgress)},
		},
	}
}

// play applies what a scene needs, sends its calls and shows them.
func (d *director) play(ctx context.Context, s scene) error {
	d.say("%s", strings.TrimRight(d.palette.Title(s.title, s.why), "\n"))
	for _, m := range s.apply {
		if err := d.st.Apply(ctx, m.namespace, m.file); err != nil {
			return err
		}
	}
	for _, c := range s.calls {
		if err := d.settle(ctx, c); err != nil {
			return err
		}
		if s.each > 0 {
			return d.turns(ctx, c, s.each)
		}
		r, err := d.perform(ctx, c)
		if err != nil {
			return err
		}
		d.shown++
		if r.Failure != "" {
			d.failed = append(d.failed, c.text)
		}
		d.say("%s", strings.TrimRight(d.palette.Draw(r), "\n"))
	}
	return nil
}

// inside is a call from sleep, 200 expected.
func inside(url, shape string, check func(answer) (string, error)) call {
	return call{
		text: "GET " + url, namespace: "default", url: url, first: "sleep",
		status: http.StatusOK, shape: shape, check: check,
	}
}

// outside is a call from this machine to the ingress gateway.
func (d *director) outside(host, path string, status int, shape string) call {
	return call{
		text: "GET http://" + host + path + " at " + d.gateway, host: host, url: path, first: "istio-ingressgateway",
		status: status, shape: shape,
		check: func(a answer) (string, error) {
			if a.server != "istio-envoy" {
				return "", fmt.Errorf("header server is %q, want istio-envoy", a.server)
			}
			return firstLine(a.body), nil
		},
	}
}

func withIdentities(c call) call {
	c.identities = true
	return c
}

func withHeader(header string, c call) call {
	c.header, c.text = header, c.text+" with "+header
	return c
}

// demoappReply is what the sample demoapp answers.
var demoappReply = regexp.MustCompile(`ClientIP: (\S+), ServerName: (\S+), ServerIP: (\S+)!`)

// clientIs checks whom demoapp took for the client.
func clientIs(address string) func(answer) (string, error) {
	return func(a answer) (string, error) {
		m := demoappReply.FindStringSubmatch(a.body)
		if m == nil || m[1] != address {
			return firstLine(a.body), fmt.Errorf("the application saw another client than %s", address)
		}
		return firstLine(a.body), nil
	}
}

// fromEgress checks that the site was called by a pod of the egress gateway.
func (d *director) fromEgress(a answer) (string, error) {
	pod, err := d.pod("istio-system", "istio-egressgateway")
	if err != nil {
		return "", err
	}
	return clientIs(pod.Address)(a)
}

// says checks that an answer has a line.
func says(line string) func(answer) (string, error) {
	return func(a answer) (string, error) {
		if firstLine(a.body) != line {
			return firstLine(a.body), fmt.Errorf("the answer is not %q", line)
		}
		return line, nil
	}
}

// anonymous checks that the application was told of no certificate.
func anonymous(a answer) (string, error) {
	if forwarded(a.body) != "" {
		return "", errors.New("the application was told of a client certificate: " + forwarded(a.body))
	}
	return "the application was told no identity", nil
}

// identities reads from an answer of httpbin what the application was told of the caller.
func identities(body string) (journey.Identities, bool) {
	return journey.ParseForwarded(forwarded(body))
}

// forwarded is the header x-forwarded-client-cert in an answer of httpbin's /headers.
func forwarded(body string) string {
	var reply struct {
		Headers map[string][]string `json:"headers"`
	}
	if json.Unmarshal([]byte(body), &reply) != nil {
		return ""
	}
	return strings.Join(reply.Headers["X-Forwarded-Client-Cert"], ",")
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return line
}

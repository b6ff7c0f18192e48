package params

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/sluicemesh/sluice/internal/meshconfig"
	"github.com/sluicemesh/sluice/internal/problem"
)

// defaultsOf prepares the built-in mesh configuration with a chart's values.
func defaultsOf(t *testing.T, values string, install Install) *Defaults {
	t.Helper()
	mesh, _, err := meshconfig.Parse("")
	if err != nil {
		t.Fatal(err)
	}
	v, err := ParseValues(values, "1.0.0")
	if err != nil {
		t.Fatal(err)
	}
	d, err := Prepare(mesh, v, install)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// onePod is a pod with one container of the user's and annotations.
func onePod(annotations map[string]string, proxy ...corev1.Container) *corev1.Pod {
	pod := &corev1.Pod{}
	pod.Name, pod.Annotations = "web", annotations
	pod.Spec.Containers = append([]corev1.Container{{Name: "app", Image: "app:1"}}, proxy...)
	return pod
}

// own is a user's own proxy with ids; -1 leaves one out.
func own(uid, gid int64) corev1.Container {
	c := corev1.Container{Name: "istio-proxy", Image: "auto", SecurityContext: &corev1.SecurityContext{}}
	if uid >= 0 {
		c.SecurityContext.RunAsUser = &uid
	}
	if gid >= 0 {
		c.SecurityContext.RunAsGroup = &gid
	}
	return c
}

func reasons(ps []problem.Problem) string {
	var out []string
	for _, p := range ps {
		out = append(out, p.Reason)
	}
	return strings.Join(out, ",")
}

// TestIdentity: who the proxy runs as, and by which ids the rules know it.
func TestIdentity(t *testing.T) {
	const mode, bind, config = "sidecar.istio.io/interceptionMode", "sidecar.istio.io/capNetBindService", "proxy.istio.io/config"
	tproxy := map[string]string{mode: "TPROXY"}
	trace := map[string]string{config: `proxyMetadata: {IPTABLES_TRACE_LOGGING: "true"}`}
	type want struct {
		UID, GID   int64
		Rules      string // owners as arguments
		Add        string
		Privileged bool
		Reasons    string
	}
	tests := map[string]struct {
		annotations map[string]string
		proxy       []corev1.Container
		want        want
	}{
		"nothing said":              {nil, nil, want{UID: 1337, GID: 1337, Rules: "-u 1337"}},
		"user and group":            {nil, []corev1.Container{own(2000, 3000)}, want{UID: 2000, GID: 3000, Rules: "-u 2000 -g 3000"}},
		"user":                      {nil, []corev1.Container{own(2000, -1)}, want{UID: 2000, GID: 1337, Rules: "-u 2000 -g 1337"}},
		"group":                     {nil, []corev1.Container{own(-1, 3000)}, want{UID: 1337, GID: 3000, Rules: "-u 1337 -g 3000"}},
		"user 0":                    {nil, []corev1.Container{own(0, -1)}, want{UID: 0, GID: 1337, Rules: "-u 1337"}},
		"user 0 with group":         {nil, []corev1.Container{own(0, 3000)}, want{UID: 0, GID: 3000, Rules: "-u 1337 -g 3000"}},
		"group 0":                   {nil, []corev1.Container{own(2000, 0)}, want{UID: 2000, GID: 0, Rules: "-u 2000"}},
		"both 0":                    {nil, []corev1.Container{own(0, 0)}, want{Rules: "-u  ", Reasons: UnsafeIdentity}},
		"too large":                 {nil, []corev1.Container{own(1<<32, -1)}, want{UID: 1 << 32, GID: 1337, Rules: "-u  ", Reasons: UnsafeIdentity}},
		"transparent":               {tproxy, nil, want{UID: 0, GID: 1337, Rules: "-u 1337", Add: "NET_ADMIN"}},
		"transparent with ids":      {tproxy, []corev1.Container{own(2000, 3000)}, want{UID: 0, GID: 3000, Rules: "-u 1337 -g 3000", Add: "NET_ADMIN", Reasons: NoEffect}},
		"transparent with user 0":   {tproxy, []corev1.Container{own(0, -1)}, want{UID: 0, GID: 1337, Rules: "-u 1337", Add: "NET_ADMIN"}},
		"transparent without group": {tproxy, []corev1.Container{own(-1, 0)}, want{Rules: "-u  ", Add: "NET_ADMIN", Reasons: UnsafeIdentity}},
		"low ports":                 {map[string]string{bind: "true"}, nil, want{UID: 0, GID: 1337, Rules: "-u 1337", Add: "NET_BIND_SERVICE"}},
		"low ports, own user":       {map[string]string{bind: "true"}, []corev1.Container{own(2000, -1)}, want{UID: 2000, GID: 1337, Rules: "-u 2000 -g 1337", Add: "NET_BIND_SERVICE"}},
		"no low ports":              {map[string]string{bind: "false"}, nil, want{UID: 1337, GID: 1337, Rules: "-u 1337"}},
		"both capabilities":         {map[string]string{bind: "true", mode: "TPROXY"}, nil, want{UID: 0, GID: 1337, Rules: "-u 1337", Add: "NET_ADMIN NET_BIND_SERVICE"}},
		"trace":                     {trace, nil, want{UID: 0, GID: 1337, Rules: "-u 1337", Add: "NET_ADMIN", Privileged: true}},
	}
	defaults := defaultsOf(t, "", Install{})
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p, problems := Resolve(Input{Pod: onePod(tt.annotations, tt.proxy...), Namespace: "shop", Defaults: defaults})
			args := p.Capture.Args()
			rules := strings.Join(args[5:7], " ") // behind "istio-iptables -p 15001 -z 15006"
			if args[7] == "-g" {
				rules += " " + strings.Join(args[7:9], " ")
			}
			got := want{UID: p.Proxy.UID, GID: p.Proxy.GID, Rules: rules, Privileged: p.Proxy.Privileged, Reasons: reasons(problems)}
			for _, c := range p.Proxy.Capabilities {
				got.Add = strings.TrimSpace(got.Add + " " + string(c))
			}
			if tt.want.Rules == "-u  " { // refused: there are no owners
				got.Rules = "-u  "
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("identity differs (-want +got):\n%s", diff)
			}
		})
	}
}

// TestLastID reads the ranges of OpenShift.
func TestLastID(t *testing.T) {
	tests := map[string]int64{
		"1000620000/10000": 1000629999, "1-10": 10, "5/1": 5, "7-7": 7,
		"": 0, "5": 0, "5/0": 0, "0/1": 0, "9-3": 0, "-5": 0, "/5": 0, "a/5": 0, "5/b": 0, "2147483647/2": 0, "4294967296/1": 0, "1 / 2": 0,
	}
	for in, want := range tests {
		got, ok := lastOf(in)
		if ok != (want != 0) || ok && got != want {
			t.Errorf("lastOf(%q) = %d, %v; want %d", in, got, ok, want)
		}
	}
}

// TestPlatformIDs: annotations of the namespace count on OpenShift alone.
func TestPlatformIDs(t *testing.T) {
	const users, groups = "openshift.io/sa.scc.uid-range", "openshift.io/sa.scc.supplemental-groups"
	tests := map[string]struct {
		install   Install
		values    string
		namespace map[string]string
		uid, gid  int64
		reasons   string
	}{
		"elsewhere":     {Install{}, "", map[string]string{users: "10/10"}, 1337, 1337, ""},
		"openshift":     {Install{Platform: "openshift"}, "", map[string]string{users: "10/10", groups: "100-109,7/1"}, 19, 109, ""},
		"by value":      {Install{}, `{"global":{"platform":"openshift"}}`, map[string]string{users: "10/10"}, 19, 19, ""},
		"no ranges":     {Install{Platform: "openshift"}, "", nil, 1337, 1337, ""},
		"only groups":   {Install{Platform: "openshift"}, "", map[string]string{groups: "100/10"}, 1337, 109, ""},
		"wrong":         {Install{Platform: "openshift"}, "", map[string]string{users: "x"}, 1337, 1337, InvalidAnnotation},
		"spaces around": {Install{Platform: "openshift"}, "", map[string]string{users: " 10/10 "}, 19, 19, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p, problems := Resolve(Input{
				Pod: onePod(nil), Namespace: "shop", NamespaceAnnotations: tt.namespace, Defaults: defaultsOf(t, tt.values, tt.install),
			})
			if p.Proxy.UID != tt.uid || p.Proxy.GID != tt.gid || reasons(problems) != tt.reasons {
				t.Errorf("ids = %d, %d with problems %q; want %d, %d, %q", p.Proxy.UID, p.Proxy.GID, reasons(problems), tt.uid, tt.gid, tt.reasons)
			}
		})
	}
}

// TestSharedIdentity: a container that the rules take for the proxy is named.
func TestSharedIdentity(t *testing.T) {
	id := func(n int64) *int64 { return &n }
	defaults := defaultsOf(t, "", Install{})
	tests := map[string]struct {
		pod  *corev1.PodSecurityContext
		own  *corev1.SecurityContext
		mode string
		want string // path of the warning
	}{
		"nothing":            {nil, nil, "REDIRECT", ""},
		"user":               {nil, &corev1.SecurityContext{RunAsUser: id(1337)}, "REDIRECT", "spec.containers[app].securityContext.runAsUser"},
		"group":              {nil, &corev1.SecurityContext{RunAsGroup: id(1337)}, "TPROXY", "spec.containers[app].securityContext.runAsGroup"},
		"pod":                {&corev1.PodSecurityContext{RunAsUser: id(1337)}, nil, "REDIRECT", "spec.containers[app].securityContext.runAsUser"},
		"pod, but not this":  {&corev1.PodSecurityContext{RunAsUser: id(1337)}, &corev1.SecurityContext{RunAsUser: id(5)}, "REDIRECT", ""},
		"nothing is caught":  {nil, &corev1.SecurityContext{RunAsUser: id(1337)}, "NONE", ""},
		"another":            {nil, &corev1.SecurityContext{RunAsUser: id(1338)}, "REDIRECT", ""},
		"root, transparent":  {nil, &corev1.SecurityContext{RunAsUser: id(0)}, "TPROXY", ""},
		"pod group, own too": {&corev1.PodSecurityContext{RunAsGroup: id(1337)}, &corev1.SecurityContext{RunAsGroup: id(2)}, "REDIRECT", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			pod := onePod(map[string]string{"sidecar.istio.io/interceptionMode": tt.mode})
			pod.Spec.SecurityContext, pod.Spec.Containers[0].SecurityContext = tt.pod, tt.own
			_, problems := Resolve(Input{Pod: pod, Namespace: "shop", Defaults: defaults})
			got := ""
			for _, p := range problems {
				if p.Fatal || p.Reason != SharedIdentity {
					t.Errorf("unexpected problem %s", p)
				}
				got += p.Path
			}
			if got != tt.want {
				t.Errorf("warning at %q; want %q", got, tt.want)
			}
		})
	}
}

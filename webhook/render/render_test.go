package render

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/sluicemesh/sluice/internal/capture"
	"github.com/sluicemesh/sluice/webhook/params"
)

// base are parameters of a plain pod, as far as these tests need them.
func base() params.Params {
	c := capture.Default()
	c.InboundExcludePorts = []uint16{15090, 15021, 15020}
	return params.Params{
		Template: params.Sidecar, Revision: "default",
		Proxy:   params.Container{UID: 1337, GID: 1337},
		Init:    params.Init{Name: "istio-init"},
		Capture: c,
		Trust:   params.Trust{ConfigMap: "istio-ca-root-cert"},
	}
}

// pod has containers by name; a word before a colon is the list "init".
func pod(containers ...string) *corev1.Pod {
	out := &corev1.Pod{}
	out.Name = "web"
	for _, name := range containers {
		if name, ok := strings.CutPrefix(name, "init:"); ok {
			out.Spec.InitContainers = append(out.Spec.InitContainers, corev1.Container{Name: name, Image: name})
			continue
		}
		out.Spec.Containers = append(out.Spec.Containers, corev1.Container{Name: name, Image: name})
	}
	return out
}

// TestPlace: the order of containers in every layout, and once more after a strip.
func TestPlace(t *testing.T) {
	cni := func(p *params.Params) { p.Init = params.Init{Name: "istio-validation", CNI: true} }
	native := func(p *params.Params) { p.Native = true }
	hold := func(p *params.Params) { p.Hold = true }
	none := func(p *params.Params) { p.Capture.Mode = capture.None }
	tests := map[string]struct {
		pod     *corev1.Pod
		change  []func(*params.Params)
		initial string
		regular string
	}{
		"native":                 {pod("app", "init:setup"), []func(*params.Params){native}, "istio-init istio-proxy setup", "app"},
		"native, plugin":         {pod("app", "init:setup"), []func(*params.Params){native, cni}, "istio-validation istio-proxy setup", "app"},
		"classic":                {pod("app", "init:setup"), nil, "setup istio-init", "app istio-proxy"},
		"classic, plugin":        {pod("app", "init:setup"), []func(*params.Params){cni}, "istio-validation setup", "app istio-proxy"},
		"classic, hold":          {pod("app", "init:setup"), []func(*params.Params){hold}, "setup istio-init", "istio-proxy app"},
		"classic, plugin, hold":  {pod("app", "init:setup"), []func(*params.Params){cni, hold}, "istio-validation setup", "istio-proxy app"},
		"none, native":           {pod("app", "init:setup"), []func(*params.Params){none, native}, "istio-proxy setup", "app"},
		"none, classic":          {pod("app", "init:setup"), []func(*params.Params){none}, "setup", "app istio-proxy"},
		"core dump, native":      {pod("app", "init:setup", "init:enable-core-dump", "init:more"), []func(*params.Params){native}, "istio-init istio-proxy enable-core-dump setup more", "app"},
		"core dump, classic":     {pod("app", "init:enable-core-dump", "init:setup"), nil, "setup istio-init enable-core-dump", "app istio-proxy"},
		"core dump, plugin":      {pod("app", "init:enable-core-dump", "init:setup"), []func(*params.Params){cni}, "istio-validation enable-core-dump setup", "app istio-proxy"},
		"core dump, none":        {pod("app", "init:enable-core-dump", "init:setup"), []func(*params.Params){none}, "enable-core-dump setup", "app istio-proxy"},
		"no init containers":     {pod("app"), nil, "istio-init", "app istio-proxy"},
		"another's plugin check": {pod("app", "init:istio-validation"), nil, "istio-validation istio-init", "app istio-proxy"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := base()
			for _, change := range tt.change {
				change(&p)
			}
			in := tt.pod
			for _, pass := range []string{"first", "second"} {
				out, problems := Pod(in, p)
				if len(problems) > 0 {
					t.Fatal(problems)
				}
				initial, regular := strings.Join(names(out.Spec.InitContainers), " "), strings.Join(names(out.Spec.Containers), " ")
				if initial != tt.initial || regular != tt.regular {
					t.Errorf("%s pass: init containers %q, containers %q; want %q, %q", pass, initial, regular, tt.initial, tt.regular)
				}
				if in, problems = Strip(out); len(problems) > 0 {
					t.Fatal(problems)
				}
			}
		})
	}
}

// TestNetworks: what Multus is told, in the form that the user chose.
func TestNetworks(t *testing.T) {
	const name = "k8s.v1.cni.cncf.io/networks"
	for before, after := range map[string]string{
		"":        `default/istio-cni`,
		"sriov":   `sriov,default/istio-cni`,
		`[]`:      `[{"name":"istio-cni","namespace":"default"}]`,
		`[1,"a"]`: `[1,"a"]`,
	} {
		p := base()
		p.Init = params.Init{Name: "istio-validation", CNI: true, Multus: true}
		in := pod("app")
		if before != "" {
			in.Annotations = map[string]string{name: before}
		}
		for range 2 {
			out, _ := Pod(in, p)
			if got := out.Annotations[name]; got != after {
				t.Errorf("networks %q become %q; want %q", before, got, after)
			}
			in, _ = Strip(out)
		}
	}
}

// TestAnnotate: what injection writes over a user's annotation comes back; what another
// changed since stays.
func TestAnnotate(t *testing.T) {
	p := base()
	p.Annotations = map[string]string{"a": "mesh", "b": "mesh", "c": "mesh", "sidecar.istio.io/status": "no", "proxy.istio.io/overrides": "no"}
	in := pod("app")
	in.Annotations = map[string]string{"b": "user", "c": "mesh"}
	out, problems := Pod(in, p)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	var status struct{ Annotations map[string][]string }
	if err := json.Unmarshal([]byte(out.Annotations["sidecar.istio.io/status"]), &status); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string][]string{"a": {"mesh"}, "b": {"mesh", "user"}}, status.Annotations); diff != "" {
		t.Errorf("record differs (-want +got):\n%s", diff)
	}
	back, _ := Strip(out)
	pick := func(m map[string]string) [3]string { return [3]string{m["a"], m["b"], m["c"]} }
	if got, want := pick(back.Annotations), [3]string{"", "user", "mesh"}; got != want {
		t.Errorf("annotations after a strip: %q; want %q", got, want)
	}
	out.Annotations["a"], out.Annotations["b"] = "other", "other"
	back, _ = Strip(out)
	if got, want := pick(back.Annotations), [3]string{"other", "other", "mesh"}; got != want {
		t.Errorf("annotations after a change and a strip: %q; want %q", got, want)
	}
	if strings.Contains(out.Annotations["proxy.istio.io/overrides"], "no") {
		t.Error("an annotation of the mesh stands for the user's containers")
	}
}

// TestSecurity: rights of the containers.
func TestSecurity(t *testing.T) {
	tests := map[string]struct {
		change  func(*params.Params)
		proxy   string
		initial string
	}{
		"usual": {func(*params.Params) {},
			`{"capabilities":{"drop":["ALL"]},"privileged":false,"runAsUser":1337,"runAsGroup":1337,"runAsNonRoot":true,"readOnlyRootFilesystem":true,"allowPrivilegeEscalation":false}`,
			`{"capabilities":{"add":["NET_ADMIN","NET_RAW"],"drop":["ALL"]},"privileged":false,"runAsUser":0,"runAsGroup":0,"runAsNonRoot":false,"readOnlyRootFilesystem":false,"allowPrivilegeEscalation":false}`},
		"plugin, other ids": {func(p *params.Params) {
			p.Init = params.Init{Name: "istio-validation", CNI: true}
			p.Proxy.UID, p.Proxy.GID = 0, 3000
			p.Proxy.Capabilities = []corev1.Capability{"NET_ADMIN"}
			p.Capture.ProxyGIDs = []uint32{3000}
		},
			`{"capabilities":{"add":["NET_ADMIN"],"drop":["ALL"]},"privileged":false,"runAsUser":0,"runAsGroup":3000,"runAsNonRoot":false,"readOnlyRootFilesystem":true,"allowPrivilegeEscalation":false}`,
			`{"capabilities":{"drop":["ALL"]},"privileged":false,"runAsUser":1337,"runAsGroup":3000,"runAsNonRoot":true,"readOnlyRootFilesystem":true,"allowPrivilegeEscalation":false}`},
		"a privileged proxy leaves the init container alone": {func(p *params.Params) { p.Proxy.Privileged = true },
			`{"capabilities":{"drop":["ALL"]},"privileged":true,"runAsUser":1337,"runAsGroup":1337,"runAsNonRoot":true,"readOnlyRootFilesystem":true,"allowPrivilegeEscalation":true}`,
			`{"capabilities":{"add":["NET_ADMIN","NET_RAW"],"drop":["ALL"]},"privileged":false,"runAsUser":0,"runAsGroup":0,"runAsNonRoot":false,"readOnlyRootFilesystem":false,"allowPrivilegeEscalation":false}`},
		"forced to be root": {func(p *params.Params) {
			user, yes := int64(2000), true
			p.Proxy.UID, p.Proxy.ForceRoot = 0, true
			p.UserProxy = &corev1.Container{Name: "istio-proxy", SecurityContext: &corev1.SecurityContext{RunAsUser: &user, RunAsNonRoot: &yes}}
		},
			`{"capabilities":{"drop":["ALL"]},"privileged":false,"runAsUser":0,"runAsGroup":1337,"runAsNonRoot":false,"readOnlyRootFilesystem":true,"allowPrivilegeEscalation":false}`,
			`{"capabilities":{"add":["NET_ADMIN","NET_RAW"],"drop":["ALL"]},"privileged":false,"runAsUser":0,"runAsGroup":0,"runAsNonRoot":false,"readOnlyRootFilesystem":false,"allowPrivilegeEscalation":false}`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := base()
			tt.change(&p)
			out, problems := Pod(pod("app"), p)
			if len(problems) > 0 {
				t.Fatal(problems)
			}
			if diff := cmp.Diff(tt.proxy, encode(out.Spec.Containers[1].SecurityContext)); diff != "" {
				t.Errorf("proxy (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.initial, encode(out.Spec.InitContainers[0].SecurityContext)); diff != "" {
				t.Errorf("init container (-want +got):\n%s", diff)
			}
		})
	}
}

// TestKeepOthers: what another webhook gave to injected containers stays, unless another
// configuration injected them.
func TestKeepOthers(t *testing.T) {
	p := base()
	p.Images.Proxy, p.Images.Init = "proxy:1", "init:1"
	in := pod("app")
	in.Spec.Volumes = []corev1.Volume{{Name: "theirs"}}
	first, _ := Pod(in, p)
	for _, c := range []*corev1.Container{&first.Spec.Containers[1], &first.Spec.InitContainers[0]} {
		c.Env = append(c.Env, corev1.EnvVar{Name: "THEIRS", Value: "1"}, corev1.EnvVar{Name: "ISTIO_META_NETWORK", Value: "stale"})
		c.VolumeMounts = append(slices.Clip(c.VolumeMounts), corev1.VolumeMount{Name: "theirs", MountPath: "/theirs"}, corev1.VolumeMount{Name: "gone", MountPath: "/gone"})
	}
	tests := map[string]struct {
		change func(*params.Params)
		proxy  bool // keeps theirs
		init   bool
	}{
		"same":          {func(*params.Params) {}, true, true},
		"another image": {func(p *params.Params) { p.Images.Proxy = "proxy:2" }, false, true},
		"other rules":   {func(p *params.Params) { p.Capture.OutboundPorts = []uint16{1} }, true, false},
		"other mesh":    {func(p *params.Params) { p.Mesh.ProxyConfig = "{}" }, false, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			again := p
			tt.change(&again)
			again.Earlier = Injected(first)
			stripped, _ := Strip(first)
			out, _ := Pod(stripped, again)
			for _, c := range []struct {
				container corev1.Container
				keeps     bool
			}{{out.Spec.Containers[1], tt.proxy}, {out.Spec.InitContainers[0], tt.init}} {
				variable := slices.ContainsFunc(c.container.Env, func(e corev1.EnvVar) bool { return e.Name == "THEIRS" })
				mount := slices.ContainsFunc(c.container.VolumeMounts, func(m corev1.VolumeMount) bool { return m.MountPath == "/theirs" })
				if variable != c.keeps || mount != c.keeps {
					t.Errorf("%s keeps variable %v, mount %v; want %v", c.container.Name, variable, mount, c.keeps)
				}
				if slices.ContainsFunc(c.container.VolumeMounts, func(m corev1.VolumeMount) bool { return m.MountPath == "/gone" }) || envValue(&c.container, "ISTIO_META_NETWORK") != "" {
					t.Errorf("%s keeps what is the mesh's own, or mounts nothing", c.container.Name)
				}
			}
		})
	}
	if Injected(in) != nil {
		t.Error("containers of a pod that was not injected")
	}
}

// TestSharedMemory: a pod with volumes and mounts of its own changes nothing for the next.
func TestSharedMemory(t *testing.T) {
	p := base()
	plain, _ := Pod(pod("app"), p)
	want := encode(plain)
	special := base()
	special.Trust = params.Trust{Bundle: "roots", Secrets: true, Tracing: "/etc/tracing"}
	special.Extra = &params.Extra{
		Bootstrap: "mine",
		Volumes:   []corev1.Volume{{Name: "istio-envoy"}},
		Mounts:    []corev1.VolumeMount{{Name: "istio-data", MountPath: "/etc/istio/pod"}, {Name: "istio-data", MountPath: "/new"}},
	}
	if _, problems := Pod(pod("app"), special); len(problems) > 0 {
		t.Fatal(problems)
	}
	again, _ := Pod(pod("app"), p)
	if diff := cmp.Diff(want, encode(again)); diff != "" {
		t.Errorf("a plain pod after a special one (-before +after):\n%s", diff)
	}
}

// TestStripRefuses: annotations that only injection writes must be what it writes.
func TestStripRefuses(t *testing.T) {
	for key, value := range map[string]string{
		"sidecar.istio.io/status":  `{"containers":"istio-proxy"}`,
		"proxy.istio.io/overrides": `[]`,
	} {
		in := pod("app")
		in.Annotations = map[string]string{"sidecar.istio.io/status": "{}"}
		in.Annotations[key] = value
		out, problems := Strip(in)
		if out != nil || len(problems) != 1 || !problems[0].Fatal || problems[0].Path != "metadata.annotations["+key+"]" {
			t.Errorf("Strip with %s %s = %v, %v; want one refusal", key, value, out, problems)
		}
	}
	in := pod("app")
	if out, _ := Strip(in); out != in {
		t.Error("a pod without status is not returned itself")
	}
}

package images

import (
	"context"
	"fmt"
	"path"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/sluicemesh/sluice/e2e/images/envoy"
	"github.com/sluicemesh/sluice/e2e/images/rootfs"
)

const (
	// proxyUser is the user and group of the proxy: interception exempts its traffic.
	proxyUser = 1337
	// sampleUser is anything but proxyUser, or the samples' traffic would not be captured.
	sampleUser = 65532

	binDir = "usr/local/bin/"
)

// recipe is what an image consists of.
type recipe struct {
	name     string
	mesh     bool     // part of the set that shares the content tag
	programs []string // main packages, as folders of the module, installed in binDir
	layers   func(*builder, recipe) []layer
	config   v1.Config
}

// layer is one layer of an image before it is built.
type layer struct {
	name string
	// inputs returns all that the content depends on, this module's source excepted.
	inputs func(context.Context) ([]string, error)
	build  func(context.Context) (*rootfs.Tree, error)
}

func recipes() []recipe {
	return []recipe{
		{
			name: "pilot", mesh: true, programs: []string{"cmd/sluiced"},
			layers: staticLayers, config: runs(proxyUser, "/usr/local/bin/sluiced"),
		},
		{
			name: "proxyv2", mesh: true, programs: []string{"cmd/sluice-agent", "cmd/sluice-init"},
			layers: proxyLayers, config: runs(proxyUser, "/usr/local/bin/pilot-agent"),
		},
		{
			name: "install-cni", mesh: true, programs: []string{"cmd/sluice-cni"},
			layers: pluginLayers, config: runs(0, "/usr/local/bin/install-cni"),
		},
		{
			name: "httpbin", programs: []string{"samples/httpbin"},
			layers: staticLayers, config: runs(sampleUser, "/usr/local/bin/httpbin"),
		},
		{
			name: "sleep", layers: sleepLayers,
			config: v1.Config{
				User: user(sampleUser), Env: []string{searchPath}, WorkingDir: "/",
				Cmd: []string{"/bin/sleep", "infinity"},
			},
		},
		{
			name: "demoapp", programs: []string{"samples/demoapp"},
			layers: staticLayers, config: runs(sampleUser, "/usr/local/bin/demoapp"),
		},
	}
}

const searchPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// runs is the configuration of an image that starts one program as the given user. The
// working directory is the root: default paths of the agent are relative to it.
func runs(uid int, program string) v1.Config {
	return v1.Config{
		User: user(uid), Env: []string{searchPath}, WorkingDir: "/", Entrypoint: []string{program},
	}
}

func user(uid int) string { return fmt.Sprintf("%d:%d", uid, uid) }

// staticLayers are for images of static programs. Layers are ordered from what never changes to
// what changes with every build, so that a node that has the former only takes the latter.
func staticLayers(b *builder, r recipe) []layer {
	return []layer{b.baseLayer(), b.programLayer(r, nil)}
}

func proxyLayers(b *builder, r recipe) []layer {
	owned := func(t *rootfs.Tree) {
		t.AddLink(binDir+"pilot-agent", "sluice-agent")
		t.AddLink(binDir+"istio-iptables", "sluice-init")
		for _, dir := range proxyDirs {
			t.AddDir(dir, 0o755, proxyUser)
		}
	}
	return []layer{b.baseLayer(), b.libcLayer(), b.iptablesLayer(), b.envoyLayer(), b.programLayer(r, owned)}
}

// proxyDirs are the folders that the proxy writes, or that volumes are mounted on, when it is
// not root. /var/run is a link to /run in the base layer.
var proxyDirs = [...]string{
	"etc/istio", "etc/istio/config", "etc/istio/pod", "etc/istio/proxy",
	"run/secrets", "run/secrets/credential-uds", "run/secrets/istio", "run/secrets/tokens",
	"run/secrets/workload-spiffe-credentials", "run/secrets/workload-spiffe-uds",
	"var/lib/istio", "var/lib/istio/data",
}

// pluginLayers are for the installer of the network plug-in, which needs iptables where it is
// told not to use nftables.
func pluginLayers(b *builder, r recipe) []layer {
	named := func(t *rootfs.Tree) { t.AddLink(binDir+"install-cni", "sluice-cni") }
	return []layer{b.baseLayer(), b.libcLayer(), b.iptablesLayer(), b.programLayer(r, named)}
}

func sleepLayers(b *builder, _ recipe) []layer {
	return []layer{b.baseLayer(), b.libcLayer(), b.curlLayer()}
}

func (b *builder) baseLayer() layer {
	return layer{name: "base", inputs: b.debianInputs, build: b.base}
}

func (b *builder) libcLayer() layer {
	return layer{name: "libc", inputs: b.debianInputs, build: b.libc}
}

func (b *builder) iptablesLayer() layer {
	return layer{name: "iptables", inputs: b.debianInputs, build: b.iptables}
}

func (b *builder) curlLayer() layer {
	return layer{name: "curl", inputs: b.debianInputs, build: b.curl}
}

func (b *builder) envoyLayer() layer {
	return layer{
		name:   "envoy",
		inputs: func(context.Context) ([]string, error) { return []string{envoy.SHA256}, nil },
		build:  b.envoy,
	}
}

// programLayer holds the programs of r and what more adds.
func (b *builder) programLayer(r recipe, more func(*rootfs.Tree)) layer {
	return layer{
		name: r.name,
		inputs: func(context.Context) ([]string, error) {
			var inputs []string
			for _, dir := range r.programs {
				inputs = append(inputs, dir, b.programs[path.Base(dir)])
			}
			return inputs, nil
		},
		build: func(context.Context) (*rootfs.Tree, error) {
			tree := rootfs.New()
			for _, dir := range r.programs {
				name := path.Base(dir)
				tree.AddHostFile(binDir+name, 0o755, b.programFile(name))
			}
			if more != nil {
				more(tree)
			}
			return tree, nil
		},
	}
}

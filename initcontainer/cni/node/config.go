package node

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/sluicemesh/sluice/internal/meta"
	"github.com/sluicemesh/sluice/internal/ports"

	"github.com/sluicemesh/sluice/initcontainer/cni/install"
	"github.com/sluicemesh/sluice/initcontainer/cni/plugin"
	"github.com/sluicemesh/sluice/initcontainer/cni/repair"
)

// Config is what the process on a node is told.
type Config struct {
	Install              install.Config
	Repair               repair.Config
	Namespace, DaemonSet string // this process's own
	LogSocket            string // where the plug-in's log lines come in
	Ready, Metrics       string // addresses to listen on
	LogLevel             string
	Untaint              bool // the node is to lose its taint once the plug-in is installed
}

// Parse reads the environment that the chart cni sets. The error joins all mistakes.
func Parse(env func(string) string) (Config, error) {
	r := reader{env: env}
	run := r.text("CNI_RUN_DIR", "/var/run/istio-cni")
	c := Config{
		Namespace: r.text("POD_NAMESPACE", "istio-system"),
		DaemonSet: r.text("CNI_DAEMONSET", "istio-cni-node"),
		LogSocket: filepath.Join(run, "log.sock"),
		Ready:     net.JoinHostPort("127.0.0.1", r.port("READINESS_PORT", ports.CNIReady)),
		Metrics:   ":" + r.port("MONITORING_PORT", ports.Monitoring),
		Untaint:   r.truth("UNTAINT_NODE", false),
		LogLevel:  r.word("LOG_LEVEL", "info", "debug", "warn", "error", "none"),
	}
	settings := plugin.Settings{
		LogLevel: c.LogLevel, LogSocket: c.LogSocket,
		NativeNftables: r.truth("NATIVE_NFTABLES", true),
		Flavour:        r.word("FORCE_IPTABLES_BINARY", "", "nft", "legacy"),
		Kubernetes: plugin.Kubernetes{
			Kubeconfig:        filepath.Join(run, "istio-cni-kubeconfig"),
			ExcludeNamespaces: r.list("EXCLUDE_NAMESPACES"),
		},
	}
	program, err := os.Executable()
	r.add(err)
	c.Install = install.Config{
		Program: program,
		BinDir:  r.text("MOUNTED_CNI_BIN_DIR", "/host/opt/cni/bin"),
		NetDir:  r.text("MOUNTED_CNI_NET_DIR", "/host/etc/cni/net.d"),

		ConfName:   env("CNI_CONF_NAME"),
		Standalone: !r.truth("CHAINED_CNI_PLUGIN", true),
		Kubeconfig: settings.Kubernetes.Kubeconfig,
		AccountDir: r.text("SERVICE_ACCOUNT_DIR", "/var/run/secrets/kubernetes.io/serviceaccount"),
		Server:     r.server(),
		Plugin:     settings,
	}
	c.Repair = repair.Config{
		Mode: r.mode(), Node: env("NODE_NAME"),
		InitContainer: r.text("REPAIR_INIT_CONTAINER_NAME", meta.ValidationContainer),
		LabelKey:      r.text("REPAIR_BROKEN_POD_LABEL_KEY", "cni.istio.io/uninitialized"),
		LabelValue:    r.text("REPAIR_BROKEN_POD_LABEL_VALUE", "true"),
		Proc:          r.text("HOST_PROC", "/host/proc"),
		Plugin:        settings,
	}
	if c.Repair.Node == "" {
		r.add(errors.New("NODE_NAME is empty: it is the node that this process runs on"))
	}
	return c, errors.Join(r.mistakes...)
}

// reader reads variables and collects what is wrong with them.
type reader struct {
	env      func(string) string
	mistakes []error
}

func (r *reader) add(err error) {
	if err != nil {
		r.mistakes = append(r.mistakes, err)
	}
}

func (r *reader) text(name, otherwise string) string {
	if v := strings.TrimSpace(r.env(name)); v != "" {
		return v
	}
	return otherwise
}

func (r *reader) truth(name string, otherwise bool) bool {
	v := r.text(name, strconv.FormatBool(otherwise))
	on, err := strconv.ParseBool(v)
	if err != nil {
		r.add(fmt.Errorf("%s: %q is neither true nor false", name, v))
	}
	return on
}

func (r *reader) port(name string, otherwise uint16) string {
	v := r.text(name, strconv.Itoa(int(otherwise)))
	if n, err := strconv.ParseUint(v, 10, 16); err != nil || n == 0 {
		r.add(fmt.Errorf("%s: %q is not a port, write a number from 1 to 65535", name, v))
	}
	return v
}

// word is one of all; the first is what an empty variable means.
func (r *reader) word(name string, all ...string) string {
	v := r.text(name, all[0])
	if !slices.Contains(all, v) {
		r.add(fmt.Errorf("%s: %q is not one of %s", name, v, strings.Join(all, ", ")))
	}
	return v
}

func (r *reader) list(name string) []string {
	list := []string{}
	for v := range strings.SplitSeq(r.env(name), ",") {
		if v = strings.TrimSpace(v); v != "" {
			list = append(list, v)
		}
	}
	return list
}

// server is how the API server is reached from a node, too.
func (r *reader) server() string {
	host, port := r.env("KUBERNETES_SERVICE_HOST"), r.env("KUBERNETES_SERVICE_PORT")
	if host == "" || port == "" {
		r.add(errors.New("KUBERNETES_SERVICE_HOST and _PORT are empty: is this no pod of a cluster?"))
	}
	return "https://" + net.JoinHostPort(host, port)
}

// mode is the one of the three that is on; the gentler wins.
func (r *reader) mode() repair.Mode {
	if !r.truth("REPAIR_ENABLED", true) {
		return repair.Off
	}
	all := []struct {
		name string
		on   bool
		mode repair.Mode
	}{
		{"REPAIR_REPAIR_PODS", true, repair.Repair},
		{"REPAIR_LABEL_PODS", false, repair.Label},
		{"REPAIR_DELETE_PODS", false, repair.Delete},
	}
	chosen := repair.Off
	for _, m := range all {
		if r.truth(m.name, m.on) && chosen == repair.Off {
			chosen = m.mode
		}
	}
	return chosen
}

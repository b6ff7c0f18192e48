package render

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/sluicemesh/sluice/internal/capture"
)

// coreDump is a container that users of old added to every pod; it needs its place right
// behind the containers that injection adds.
const coreDump = "enable-core-dump"

// hasInit reports whether rules are wanted.
func (w *writer) hasInit() bool { return w.Capture.Mode != capture.None }

// initial is the container that installs the rules or checks them, if rules are wanted.
func (w *writer) initial() ([]corev1.Container, bool) {
	if !w.hasInit() {
		return nil, true
	}
	c, ok := w.merge(w.buildInit(), w.Init.User)
	w.keepOthers(&c)
	return []corev1.Container{c}, ok
}

func (w *writer) buildInit() corev1.Container {
	return corev1.Container{
		Name:            w.Init.Name,
		Image:           w.Images.Init,
		ImagePullPolicy: w.Images.PullPolicy,
		Args:            w.initArgs(),
		Env:             metadataEnv(w.Mesh.Metadata),
		Resources:       *w.Proxy.Resources.DeepCopy(),
		SecurityContext: w.initSecurity(),
	}
}

func (w *writer) initArgs() []string {
	args := w.logFormat(append(w.Capture.Args(), "--log_output_level="+w.Logs.Agent))
	switch {
	case w.Init.CNI:
		args = append(args, "--run-validation", "--skip-rule-apply")
	case w.Init.ForceApply:
		args = append(args, "--force-apply")
	}
	if w.Init.NativeNftables {
		args = append(args, "--native-nftables")
	}
	return args
}

// place puts the containers where they start in the right order: rules before the proxy
// before the user's. Without native sidecars the rules come after the user's init
// containers, which would otherwise have no network; those of a plugin are there before
// any container, and are checked first.
func (w *writer) place(proxy corev1.Container, initial []corev1.Container) {
	spec := &w.out.Spec
	w.status.Containers, w.status.InitContainers = nil, names(initial)
	user, dump := w.takeCoreDump(spec.InitContainers)
	switch {
	case w.Native:
		w.status.InitContainers = append(w.status.InitContainers, proxy.Name)
		spec.InitContainers = slices.Concat(initial, []corev1.Container{proxy}, dump, user)
		return
	case w.Hold:
		spec.Containers = slices.Insert(spec.Containers, 0, proxy)
	default:
		spec.Containers = append(spec.Containers, proxy)
	}
	w.status.Containers = []string{proxy.Name}
	if w.Init.CNI {
		spec.InitContainers = slices.Concat(initial, user)
		return
	}
	spec.InitContainers = append(append(user, initial...), dump...)
}

// takeCoreDump splits the user's init containers where one has a place of its own: behind
// the container that installs the rules.
func (w *writer) takeCoreDump(list []corev1.Container) (user, dump []corev1.Container) {
	at := slices.IndexFunc(list, func(c corev1.Container) bool { return c.Name == coreDump })
	if at < 0 || w.Init.CNI || !w.hasInit() {
		return list, nil
	}
	dump = []corev1.Container{list[at]}
	return slices.Delete(list, at, at+1), dump
}

func names(list []corev1.Container) []string {
	var out []string
	for i := range list {
		out = append(out, list[i].Name)
	}
	return out
}

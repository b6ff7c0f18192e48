package render

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/sluicemesh/sluice/internal/meta"
	"github.com/sluicemesh/sluice/internal/problem"
	"github.com/sluicemesh/sluice/webhook/params"
)

// TemplateFailed is the reason of the problem of a text template that gives no pod: it
// does not run, or what it says cannot be laid over this pod.
const TemplateFailed = "TemplateFailed"

// DubiousTemplate is the reason of the warning about something in a template's output that
// has no effect, or likely not the one that is meant.
const DubiousTemplate = "DubiousTemplate"

// Overlay is what one text template says about a pod.
type Overlay struct {
	Template string
	// Patch is a strategic merge patch of a Pod with numbers as int64 or float64. Compose
	// takes it over.
	Patch map[string]any
}

// Describe returns a copy of pod with the labels and annotations of the overlays. What
// they say is as good as the user's: parameters must be resolved from the result, so that
// a second injection, which finds them on the pod, comes to the same. The pod itself is
// returned where nothing changes, nil with a fatal problem. namespace is the request's.
func Describe(pod *corev1.Pod, namespace string, overlays []Overlay) (*corev1.Pod, []problem.Problem) {
	w := &writer{in: pod, out: shallow(pod), origin: params.Origin(pod, namespace)}
	for _, o := range overlays {
		metadata, _ := o.Patch["metadata"].(map[string]any)
		w.describe(o.Template, "labels", metadata, w.out.Labels)
		w.describe(o.Template, "annotations", metadata, w.out.Annotations)
	}
	if problem.AnyFatal(w.problems) {
		return nil, w.problems
	}
	if maps.Equal(w.out.Labels, pod.Labels) && maps.Equal(w.out.Annotations, pod.Annotations) {
		return pod, w.problems
	}
	return w.out, w.problems
}

func (w *writer) describe(template, field string, metadata map[string]any, to map[string]string) {
	values, _ := metadata[field].(map[string]any)
	for _, key := range slices.Sorted(maps.Keys(values)) {
		path := "metadata." + field + "[" + key + "]"
		switch v := values[key].(type) {
		case nil:
			delete(to, key)
		case string:
			if key == meta.Status || key == meta.Overrides || key == meta.Templates {
				w.dubious(template, path+" is not a template's to set and is left out")
				continue
			}
			to[key] = v
		default:
			w.failed(template, path+" is not a text: put it in quotes")
		}
	}
}

// Compose is Pod where p names text templates: the native template first, if one was
// chosen, then the overlays in order, then the user's own version of each container that
// they name, then what depends on the whole: probes, metrics, order, status. pod must be
// what Describe returned.
func Compose(pod *corev1.Pod, p params.Params, overlays []Overlay) (*corev1.Pod, []problem.Problem) {
	c := &composer{writer: newWriter(pod, p), pod: pod, named: mentioned(overlays, containers, initContainers)}
	c.takeUserContainers(c.injected)
	if p.Template != params.None && !c.base() {
		return nil, c.problems
	}
	added := mentioned(overlays, volumes)
	secrets := mentioned(overlays, imagePullSecrets)
	if !c.lay(overlays) || !c.layUser() || !c.complete() {
		return nil, c.problems
	}
	arrange(c.out.Spec.Volumes, volumeName, slices.Concat(c.status.Volumes, added), pod.Spec.Volumes)
	arrange(c.out.Spec.ImagePullSecrets, secretName, slices.Concat(c.status.ImagePullSecrets, secrets), pod.Spec.ImagePullSecrets)
	c.list()
	c.finish()
	return c.out, c.problems
}

// composer is a writer over overlays.
type composer struct {
	writer
	pod   *corev1.Pod     // as the user wrote it
	named []string        // containers that overlays add something to, in order
	env   []corev1.EnvVar // of the native proxy
}

// injected reports the containers of which a user's is an override: recorded as it was,
// and merged again at each injection.
func (c *composer) injected(name string) bool {
	switch name {
	case meta.ProxyContainer:
		return c.Template != params.None || slices.Contains(c.named, name)
	case meta.InitContainer, meta.ValidationContainer:
		return c.Template != params.None && c.hasInit() && name == c.Init.Name || slices.Contains(c.named, name)
	}
	return false
}

// override is the user's own version of an injected container, nil for none.
func (c *composer) override(name string) *corev1.Container {
	switch name {
	case meta.ProxyContainer:
		return c.UserProxy
	case c.Init.Name:
		return c.Init.User
	}
	return c.saved.find(name)
}

// base injects the native template without the user's containers.
func (c *composer) base() bool {
	proxy := c.buildProxy()
	c.env = proxy.Env
	var initial []corev1.Container
	if c.hasInit() {
		initial = []corev1.Container{c.buildInit()}
	}
	if !c.volumes() {
		return false
	}
	c.pullSecrets()
	c.place(proxy, initial)
	c.podSecurity()
	return true
}

// layUser lays the user's version of containers that overlays name over the result, so
// that the user's fields win, and restores the user's order behind what was added.
func (c *composer) layUser() bool {
	named := make(map[string]bool, len(c.named))
	for _, name := range c.named {
		named[name] = true
	}
	ok := true
	again := func(list, user []corev1.Container) {
		find := finder(user, containerName)
		for i := range list {
			at := find(list[i].Name)
			if at < 0 || !named[list[i].Name] || c.injected(list[i].Name) {
				continue
			}
			merged, fine := c.merge(list[i], &user[at])
			arrangeContainer(&merged, &user[at])
			list[i], ok = merged, ok && fine
		}
		arrange(list, containerName, c.named, user)
	}
	again(c.out.Spec.Containers, c.pod.Spec.Containers)
	again(c.out.Spec.InitContainers, c.pod.Spec.InitContainers)
	return ok
}

// complete does what depends on the pod as a whole.
func (c *composer) complete() bool {
	proxy, found, native := c.takeProxy()
	initial := c.takeRules()
	user := c.userContainers()
	if !found {
		c.Health.Rewrite, c.Metrics = false, params.Metrics{}
	} else if envValue(&proxy, "DISABLE_ENVOY") == "true" {
		c.Metrics = params.Metrics{} // nothing merges the application's metrics
	}
	c.probes()
	proxy.Env = inOrder(proxy.Env, c.env)
	proxy, ok := c.merge(proxy, c.override(proxy.Name))
	for i := range initial {
		merged, fine := c.merge(initial[i], c.override(initial[i].Name))
		c.keepOthers(&merged)
		initial[i], ok = merged, ok && fine
	}
	if !ok {
		return false
	}
	in := *c.pod
	in.Spec.Containers = user
	c.in = &in
	c.labels()
	c.annotations()
	if found {
		c.refresh(&proxy, user)
		c.settle(&proxy, native)
		c.securePort(&proxy)
		c.Native, c.Hold = native, c.Hold || c.blocks(proxy)
		c.place(proxy, initial)
	} else {
		c.out.Spec.InitContainers = slices.Concat(initial, c.out.Spec.InitContainers)
	}
	if len(c.out.Spec.Containers) == 0 {
		c.report("spec.containers", TemplateFailed, true, "the templates leave no container: remove what deletes them")
		return false
	}
	return true
}

// blocks reports a template's proxy that holds the next container back until it is ready:
// it wants to be the first one.
func (c *composer) blocks(proxy corev1.Container) bool {
	return c.Template == params.None && proxy.Lifecycle != nil && proxy.Lifecycle.PostStart != nil
}

// takeProxy takes the proxy out of the list it is in; native says that it is that of the
// init containers.
func (c *composer) takeProxy() (proxy corev1.Container, found, native bool) {
	if !c.injected(meta.ProxyContainer) {
		return proxy, false, false
	}
	if proxy, found = take(&c.out.Spec.Containers, meta.ProxyContainer); found {
		return proxy, true, false
	}
	proxy, found = take(&c.out.Spec.InitContainers, meta.ProxyContainer)
	return proxy, found, found
}

// takeRules takes the injected init containers that come first out of the list.
func (c *composer) takeRules() []corev1.Container {
	var out []corev1.Container
	for _, name := range []string{meta.InitContainer, meta.ValidationContainer} {
		if !c.injected(name) {
			continue
		}
		if container, ok := take(&c.out.Spec.InitContainers, name); ok {
			out = append(out, container)
		}
	}
	return out
}

func take(list *[]corev1.Container, name string) (corev1.Container, bool) {
	i := indexOf(*list, name)
	if i < 0 {
		return corev1.Container{}, false
	}
	out := (*list)[i]
	*list = slices.Delete(*list, i, i+1)
	return out, true
}

// userContainers lists the user's containers that are still there.
func (c *composer) userContainers() []corev1.Container {
	var out []corev1.Container
	find := finder(c.pod.Spec.Containers, containerName)
	for i := range c.out.Spec.Containers {
		if container := &c.out.Spec.Containers[i]; find(container.Name) >= 0 {
			out = append(out, *container)
		}
	}
	return out
}

// refresh corrects what the proxy is told about the pod's containers, where the base
// template told it: overlays may have changed them since.
func (c *composer) refresh(proxy *corev1.Container, user []corev1.Container) {
	if c.Template == params.None {
		setEnv(proxy, meta.EnvClusterID, c.Mesh.Cluster)
		if c.Mesh.Network != "" {
			setEnv(proxy, meta.EnvNetwork, c.Mesh.Network)
		}
		return
	}
	before := slices.DeleteFunc(slices.Clone(c.pod.Spec.Containers), func(v corev1.Container) bool { return c.injected(v.Name) })
	for i := range proxy.Env {
		switch e := &proxy.Env[i]; {
		case e.Name == meta.EnvPodPorts && e.Value == podPorts(before):
			e.Value = podPorts(user)
		case e.Name == meta.EnvAppContainers && e.Value == appContainers(before):
			e.Value = appContainers(user)
		}
	}
}

// list fills the status: what is in the pod now and was not before, and what the user
// has an own version of that is recorded in the overrides.
func (c *composer) list() {
	added := func(list, user []corev1.Container) []string {
		var out []string
		find := finder(user, containerName)
		for i := range list {
			if name := list[i].Name; c.injected(name) || find(name) < 0 {
				out = append(out, name)
			}
		}
		return out
	}
	c.status.Containers = added(c.out.Spec.Containers, c.pod.Spec.Containers)
	c.status.InitContainers = added(c.out.Spec.InitContainers, c.pod.Spec.InitContainers)
	c.status.Volumes, c.status.ImagePullSecrets = nil, nil
	volume := finder(c.pod.Spec.Volumes, volumeName)
	for i := range c.out.Spec.Volumes {
		if name := c.out.Spec.Volumes[i].Name; volume(name) < 0 {
			c.status.Volumes = append(c.status.Volumes, name)
		}
	}
	pull := finder(c.pod.Spec.ImagePullSecrets, secretName)
	for _, ref := range c.out.Spec.ImagePullSecrets {
		if pull(ref.Name) < 0 {
			c.status.ImagePullSecrets = append(c.status.ImagePullSecrets, ref.Name)
		}
	}
}

// find returns the user's own version of an injected container, nil for none.
func (o *overrides) find(name string) *corev1.Container {
	for _, list := range [][]corev1.Container{o.Containers, o.InitContainers} {
		if i := indexOf(list, name); i >= 0 {
			return &list[i]
		}
	}
	return nil
}

func indexOf(list []corev1.Container, name string) int {
	return slices.IndexFunc(list, func(c corev1.Container) bool { return c.Name == name })
}

package cli

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// exitWith is the annotation by which a test's pod says how its ephemeral containers end: an
// exit code, or a word for one that never starts.
const exitWith = "test/exit"

// newNode makes a node whose kubelet ends ephemeral containers at once, with their command
// line as what they said.
func newNode(t *testing.T, c *cluster) {
	t.Helper()
	kubelet := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		words := strings.Split(strings.TrimPrefix(r.URL.Path, "/containerLogs/"), "/")
		var pod corev1.Pod
		if err := c.Get(r.Context(), client.ObjectKey{Namespace: words[0], Name: words[1]}, &pod); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		for _, e := range pod.Spec.EphemeralContainers {
			if e.Name == words[2] {
				fmt.Fprintf(w, "ran %q as %d in %s %v\n", append(e.Command, e.Args...), *e.SecurityContext.RunAsUser, e.Image, e.Env)
			}
		}
	}))
	t.Cleanup(kubelet.Close)
	_, port, err := net.SplitHostPort(kubelet.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}
	c.create(t, node)
	node.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "127.0.0.1"}}
	node.Status.DaemonEndpoints.KubeletEndpoint.Port = int32(number)
	if err := c.Status().Update(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var group errgroup.Group
	group.Go(func() error { return endContainers(ctx, c) })
	t.Cleanup(func() {
		cancel()
		if err := group.Wait(); err != nil {
			t.Error(err)
		}
	})
}

// endContainers ends ephemeral containers until ctx ends.
func endContainers(ctx context.Context, c client.Client) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		var pods corev1.PodList
		if err := c.List(ctx, &pods); err != nil && ctx.Err() == nil {
			return err
		}
		for _, pod := range pods.Items {
			if len(pod.Spec.EphemeralContainers) == len(pod.Status.EphemeralContainerStatuses) {
				continue
			}
			var list []corev1.ContainerStatus
			for _, e := range pod.Spec.EphemeralContainers {
				list = append(list, corev1.ContainerStatus{Name: e.Name, State: stateOf(pod.Annotations[exitWith])})
			}
			pod.Status.EphemeralContainerStatuses = list
			if err := c.Status().Update(ctx, &pod); err != nil && ctx.Err() == nil && !isConflict(err) {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func stateOf(word string) corev1.ContainerState {
	switch word {
	case "ImagePullBackOff":
		return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: word, Message: "no such image"}}
	case "StartError":
		return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 128, Reason: word, Message: "no such file"}}
	}
	code, _ := strconv.Atoi(word) // no word: 0
	return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: int32(code)}}
}

// captured is an injected pod on the node; change, which may be nil, makes another of it.
func captured(t *testing.T, c *cluster, namespace, name string, change func(*corev1.Pod)) {
	t.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Annotations: map[string]string{"sidecar.istio.io/status": "{}"}},
		Spec: corev1.PodSpec{
			NodeName: "n1",
			InitContainers: []corev1.Container{{
				Name: "istio-init", Image: "proxyv2:1", Env: []corev1.EnvVar{{Name: "ISTIO_META_DNS_CAPTURE", Value: "true"}},
				Args: []string{"istio-iptables", "-p", "15001", "-i", "*", "-b", "*", "--log_output_level=default:info", "--force-apply"},
			}},
			Containers: []corev1.Container{{Name: "istio-proxy", Image: "proxyv2:2"}, {Name: "app", Image: "app:1"}},
		},
	}
	if change != nil {
		change(pod)
	}
	status := pod.Status
	c.create(t, pod)
	if status.Phase != "" {
		pod.Status = status
		if err := c.Status().Update(t.Context(), pod); err != nil {
			t.Fatal(err)
		}
	}
}

// TestIntercept runs verify-rules and trace-packet on an API server with one node.
func TestIntercept(t *testing.T) {
	c := newCluster(t)
	newNode(t, c)
	c.create(t,
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}},
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "istio-system"}},
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "strict", Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}}},
	)
	exit := func(word string) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.Annotations[exitWith] = word }
	}
	validation := func(p *corev1.Pod) {
		i := &p.Spec.InitContainers[0]
		i.Name, i.Args = "istio-validation", append(i.Args, "--run-validation", "--skip-rule-apply")
	}
	for _, tt := range []struct {
		name   string
		change func(*corev1.Pod)
		args   string
		code   int
		words  []string
	}{
		{"proven", nil, "verify-rules proven -n shop", 0, []string{
			"Pod shop/proven: ✔ exactly what is wanted is captured (ephemeral container sluice-verify-",
			`ran ["/usr/local/bin/sluice-init" "verify" "-p" "15001" "-i" "*" "-b" "*"] as 0 in proxyv2:1 [{ISTIO_META_DNS_CAPTURE true `,
		}},
		{"leaky", exit("126"), "verify-rules leaky.shop --image mine:3", 1, []string{
			"Pod shop/leaky: ✘ packets go other ways than they should", "in mine:3",
		}},
		{"json", exit("126"), "verify-rules json.shop -o json", 1, []string{`"--json"]`}},
		{"blind", exit("1"), "verify-rules blind.shop", 2, []string{
			"Pod shop/blind: ? could not be checked", "Error: sluice-init ended with exit code 1 in pod shop/blind, see above",
		}},
		{"plugin", validation, "verify-rules plugin.shop", 0, []string{`"-b" "*" "--capture-all-dns"] as 0 in proxyv2:2`}},
		{"apart", func(p *corev1.Pod) { p.Spec.InitContainers = nil }, "verify-rules apart.shop", 0, []string{`"verify" "-m" "NONE"] as 0 in proxyv2:2`}},
		{"sent", nil, "trace-packet pod/sent.shop --to 1.2.3.4:80 --uid 0 --udp", 0, []string{
			"Pod shop/sent: ✔ the packet goes the way it should (ephemeral container sluice-trace-",
			`"-b" "*" "--to" "1.2.3.4:80" "--uid" "0" "--gid" "1000" "--udp"]`,
		}},
		{"received", exit("126"), "trace-packet received.shop --to 10.0.0.1:80 --from 10.0.0.2 --in eth0", 1, []string{
			"Pod shop/received: ✘ the packet goes another way than it should", `"--to" "10.0.0.1:80" "--from" "10.0.0.2" "--in" "eth0"]`,
		}},
		{"pulling", exit("ImagePullBackOff"), "verify-rules pulling.shop --timeout 2s", 2, []string{
			"of pod shop/pulling has not ended in time, --timeout allows more: ImagePullBackOff: no such image",
		}},
		{"old", exit("StartError"), "verify-rules old.shop", 2, []string{
			"Error: image proxyv2:1 cannot run /usr/local/bin/sluice-init; --image names one of this version: no such file",
		}},
		{"hosted", func(p *corev1.Pod) { p.Spec.HostNetwork = true }, "verify-rules hosted.shop", 2, []string{
			"Error: pod shop/hosted is on the network of its node: such pods are never captured",
		}},
		{"bare", func(p *corev1.Pod) { p.Annotations = nil }, "verify-rules bare.shop", 2, []string{
			"Error: pod shop/bare is not injected, so nothing is captured; sluice explain-inject bare -n shop says why",
		}},
		{"ended", func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }, "verify-rules ended.shop", 2, []string{
			"Error: pod shop/ended has ended (phase Succeeded), and its network with it",
		}},
		{"waiting", func(p *corev1.Pod) { p.Spec.NodeName = "" }, "verify-rules waiting.shop", 2, []string{"pod shop/waiting is not on a node yet"}},
		{"proxyless", func(p *corev1.Pod) { p.Spec.InitContainers, p.Spec.Containers = nil, p.Spec.Containers[1:] }, "verify-rules proxyless.shop", 2, []string{
			"pod shop/proxyless has no container istio-proxy",
		}},
		{"", nil, "verify-rules none.shop", 2, []string{"Error: there is no pod none in namespace shop; -n names another namespace"}},
		{"", nil, "verify-rules deploy/web", 2, []string{`Error: "deploy/web" is no pod`}},
		{"", nil, "verify-rules web -o yaml", 2, []string{`Error: unknown output "yaml"`}},
		{"", nil, "trace-packet web", 2, []string{"Error: --to is missing"}},
		{"", nil, "trace-packet --to 1.2.3.4:80", 2, []string{"Error: name a POD, or give an init container's arguments with --args"}},
		{"", nil, "trace-packet web --to 1.2.3.4:80 --in eth0", 2, []string{"Error: --from is missing"}},
		{"", nil, "trace-packet web --to 1.2.3.4:99999", 2, []string{`Error: --to is "1.2.3.4:99999": write ADDRESS:PORT`}},
		{"", nil, "trace-packet web --to [::1]:80 --from 1.2.3.4", 2, []string{"Error: --from 1.2.3.4 and --to ::1 are of two families"}},
		{"", nil, "trace-packet web db --to 1.2.3.4:80", 2, []string{`Error: name one POD; "db" is one word too many`}},
		{"", nil, "trace-packet web --too 1.2.3.4:80", 2, []string{"Error: unknown flag: --too"}},
		{"", nil, "verify-rules", 2, []string{"Error: name one POD"}},
		{"", nil, "verify-rules web db", 2, []string{"Error: name one POD"}},
		{"", nil, "verify-rules web --jsn", 2, []string{"Error: unknown flag: --jsn"}},
		{"", nil, "trace-packet web --to 1.2.3.4:80 --nameservers 1.1.1.1", 2, []string{"Error: --nameservers goes with --args"}},
	} {
		t.Run(tt.args, func(t *testing.T) {
			if tt.name != "" {
				captured(t, c, "shop", tt.name, tt.change)
			}
			c.run(t, "", strings.Fields(tt.args)...).want(t, tt.code, tt.words...)
		})
	}
	t.Run("restricted", func(t *testing.T) { restricted(t, c, validation) })
	t.Run("rights", func(t *testing.T) { lacking(t, c) })
}

// restricted: where Pod Security refuses the container, the plug-in's agent is looked for.
func restricted(t *testing.T, c *cluster, validation func(*corev1.Pod)) {
	captured(t, c, "strict", "web", func(p *corev1.Pod) {
		validation(p)
		no, yes, user := false, true, int64(1337)
		harmless := &corev1.SecurityContext{
			AllowPrivilegeEscalation: &no, RunAsNonRoot: &yes, RunAsUser: &user, Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		}
		for _, list := range [][]corev1.Container{p.Spec.InitContainers, p.Spec.Containers} {
			for i := range list {
				list[i].SecurityContext = harmless
			}
		}
	})
	c.run(t, "", "verify-rules", "web", "-n", "strict").want(t, 2,
		"Error: an ephemeral container that may read the rules (root, NET_ADMIN, NET_RAW) is not admitted: ", `violates PodSecurity "restricted:latest"`,
		"and the network plug-in cannot help: namespace istio-system has no running pod k8s-app=istio-cni-node on node n1: install the component cni")
}

// lacking: the right that is missing is named.
func lacking(t *testing.T, c *cluster) {
	captured(t, c, "shop", "guarded", nil)
	config, err := clientcmd.LoadFromFile(c.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	for _, user := range config.AuthInfos {
		user.Impersonate = "alice"
	}
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, kubeconfig); err != nil {
		t.Fatal(err)
	}
	alice := &cluster{Client: c.Client, kubeconfig: kubeconfig}
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "look"}}
	c.create(t, role, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "look"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "look"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: "alice"}},
	})
	for _, step := range []struct {
		want     string
		code     int
		resource string // that she may use afterwards
		verb     string
	}{
		{"the right to get pods is needed", 2, "pods", "get"},
		{"you lack the right to patch pods/ephemeralcontainers in this namespace", 2, "pods/ephemeralcontainers", "patch"},
		{"the right to get pods/log is needed", 2, "pods/log", "get"},
		{"✔ exactly what is wanted is captured", 0, "", ""},
	} {
		alice.wait(t, step.want, step.code, "verify-rules", "guarded", "-n", "shop")
		role.Rules = append(role.Rules, rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{step.resource}, Verbs: []string{step.verb}})
		if step.verb != "" {
			if err := c.Update(t.Context(), role); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// wait runs the program until it prints the words, for a right counts some moments after it
// was given.
func (c *cluster) wait(t *testing.T, words string, code int, args ...string) {
	t.Helper()
	limit := time.Now().Add(20 * time.Second)
	for {
		got := c.run(t, "", args...)
		if (got.code == code && strings.Contains(got.out+got.err, words)) || time.Now().After(limit) {
			got.want(t, code, words)
			return
		}
	}
}

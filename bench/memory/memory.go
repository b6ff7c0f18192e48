// Package memory reads the memory of the mesh's programs from the proc file system of the
// nodes they run on.
//
// It reads every process of control plane, agent and Envoy in the cluster and changes none.
package memory

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluicemesh/sluice/bench/figure"
	"github.com/sluicemesh/sluice/bench/scene"
)

// script prints, for each process of the mesh, a line with its name, its control groups and
// the two figures of its status, in kB. A process that ends meanwhile prints nothing or too
// little, which parse leaves out.
const script = `cd /proc
for p in [0-9]*; do
  read -r name 2>/dev/null < $p/comm || continue
  case $name in envoy|pilot-agent|sluice-agent|sluiced) ;; *) continue ;; esac
  echo "$name $(tr '\n' ' ' < $p/cgroup | tr ' ' ';') $(grep -E '^(VmRSS|RssAnon):' $p/status | tr -s '\t\n' ' ')"
done 2>/dev/null
true`

// Process is one process of the mesh.
type Process struct {
	Program  string // control plane, agent or Envoy
	Pod      string // namespace/name; its UID when the pod is not known
	Resident int64  // bytes, with what is shared with others
	Private  int64  // bytes of anonymous memory: its own
}

// Result is what was seen at one moment.
type Result struct {
	Processes []Process // by program, then pod
	Services  int       // in the cluster, and so in the mesh
}

// Measure looks at all nodes, from pods in a namespace.
func Measure(ctx context.Context, s *scene.Scene, namespace string) (Result, error) {
	printed, err := s.OnNodes(ctx, namespace, script)
	if err != nil {
		return Result{}, err
	}
	pods, err := s.Client.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return Result{}, fmt.Errorf("list pods: %w", err)
	}
	services, err := s.Client.CoreV1().Services("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return Result{}, fmt.Errorf("list services: %w", err)
	}
	names := map[string]string{}
	for _, p := range pods.Items {
		names[string(p.UID)] = p.Namespace + "/" + p.Name
	}
	r := Result{Services: len(services.Items)}
	for _, text := range printed {
		r.Processes = append(r.Processes, parse(text, names)...)
	}
	slices.SortFunc(r.Processes, func(a, b Process) int {
		return strings.Compare(a.Program+" "+a.Pod, b.Program+" "+b.Pod)
	})
	return r, nil
}

var (
	// A pod's UID is in its control group's name, with dashes or, under systemd, underscores.
	podUID  = regexp.MustCompile(`pod([0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12})`)
	numbers = regexp.MustCompile(`VmRSS: *(\d+) kB RssAnon: *(\d+) kB`)
)

// program is what the process of a name is; the agent goes by two names.
func program(name string) string {
	switch name {
	case "sluiced":
		return "sluiced"
	case "envoy":
		return "Envoy"
	default:
		return "sluice-agent"
	}
}

// parse reads what script printed on one node; names are those of pods by UID. Processes
// outside pods are not the cluster's.
func parse(text string, names map[string]string) []Process {
	var found []Process
	for l := range strings.Lines(text) {
		uid, size := podUID.FindStringSubmatch(l), numbers.FindStringSubmatch(l)
		if uid == nil || size == nil {
			continue
		}
		name, _, _ := strings.Cut(l, " ")
		pod := strings.ReplaceAll(uid[1], "_", "-")
		if known, ok := names[pod]; ok {
			pod = known
		}
		found = append(found, Process{Program: program(name), Pod: pod, Resident: kilobytes(size[1]), Private: kilobytes(size[2])})
	}
	return found
}

// kilobytes is a figure of the kernel in bytes, and 0 for one beyond any machine's memory.
func kilobytes(digits string) int64 {
	n, err := strconv.ParseInt(digits, 10, 64-10)
	if err != nil {
		return 0
	}
	return n * 1024
}

// Table is the figures as they are quoted.
func (r Result) Table() figure.Table {
	t := figure.Table{
		Title: fmt.Sprintf("Memory with %d Services in the mesh, MiB", r.Services),
		Head:  []string{"process", "pod", "resident", "anonymous"},
		Notes: []string{"VmRSS and RssAnon of /proc/PID/status; resident counts pages of the binary, which processes on a node share"},
	}
	for _, p := range r.Processes {
		t.Rows = append(t.Rows, []string{p.Program, p.Pod, figure.MiB(p.Resident), figure.MiB(p.Private)})
	}
	return t
}

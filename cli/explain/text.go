package explain

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/sluicemesh/sluice/cli/terminal"
	"github.com/sluicemesh/sluice/internal/meta"
	"github.com/sluicemesh/sluice/webhook/policy"
)

// writer writes verdicts for people.
type writer struct {
	out   io.Writer
	paint terminal.Paint
	more  bool // a verdict was written before
}

func (w *writer) verdict(v *verdict) {
	if w.more {
		fmt.Fprintln(w.out)
	}
	w.more = true
	fmt.Fprintf(w.out, "%s: %s\n", w.paint.Title(v.Object), w.headline(v))
	if text, ok := policy.Doc(policy.Reason(v.Reason)); ok {
		fmt.Fprintf(w.out, "  %s\n", text.Means)
	}
	if v.Running != nil {
		fmt.Fprintf(w.out, "  %s\n", now(v))
	}
	gate, webhook := policy.Gate(""), ""
	for _, s := range v.Steps {
		if s.Gate != gate {
			gate, webhook = s.Gate, ""
			fmt.Fprintf(w.out, "\n  %s\n", w.paint.Title(gateTitle(s, v)))
		}
		if s.Webhook != webhook && s.Gate == policy.APIServer && s.Webhook != "" {
			fmt.Fprintf(w.out, "    %s\n", w.paint.Quiet(s.Webhook))
		}
		webhook = s.Webhook
		w.step(s)
	}
	if len(v.Problems) > 0 {
		fmt.Fprintf(w.out, "\n  %s\n", w.paint.Title("Injection"))
		for _, p := range v.Problems {
			fmt.Fprintf(w.out, "    %s %s\n", w.paint.Changed("!"), p)
		}
	}
}

func (w *writer) headline(v *verdict) string {
	switch {
	case v.Refused:
		return w.paint.Bad("✘ refused") + " [" + v.Reason + "]"
	case v.Injected:
		return w.paint.Good("✔ injected") + " by revision " + v.Revision + " [" + v.Reason + "]"
	}
	return w.paint.Bad("✘ not injected") + " [" + v.Reason + "]"
}

// now says how a running pod differs from the verdict.
func now(v *verdict) string {
	switch {
	case v.Running.Injected && v.Injected:
		return "The pod runs with the proxy of revision " + v.Running.Revision + "."
	case v.Running.Injected:
		return "The pod runs with the proxy of revision " + v.Running.Revision + "; created again, it would be without."
	case v.Injected:
		return "The pod runs without the proxy: it was created under other rules. Create it again, as with kubectl rollout restart."
	}
	return "The pod runs without the proxy."
}

// revisionOf reads which revision injected a pod.
func revisionOf(pod *corev1.Pod) string {
	var status struct {
		Revision string `json:"revision"`
	}
	if json.Unmarshal([]byte(pod.Annotations[meta.Status]), &status) != nil {
		return ""
	}
	return status.Revision
}

func gateTitle(s policy.Step, v *verdict) string {
	switch {
	case s.Gate == policy.APIServer:
		return "API server: is an injector asked?"
	case v.Webhook == "":
		return "Injector: if it were asked"
	}
	return "Injector: does it inject?"
}

// step writes one rule, with what to change below it.
func (w *writer) step(s policy.Step) {
	text := s.Rule + ": " + answer(s) + s.Found
	indent := "      "
	if s.Gate == policy.Injector || s.Webhook == "" {
		indent = "    "
	}
	if s.Outcome == policy.NotReached {
		fmt.Fprintf(w.out, "%s%s\n", indent, w.paint.Quiet("· "+s.Rule))
		return
	}
	if s.Reason != "" {
		text += " [" + string(s.Reason) + "]"
	}
	fmt.Fprintf(w.out, "%s%s %s\n", indent, w.mark(s), text)
	if s.Remedy != "" {
		for _, line := range strings.Split(s.Remedy, "\n") {
			fmt.Fprintf(w.out, "%s    → %s\n", indent, line)
		}
	}
}

// answer begins what was found for a rule of the injector, as these ask yes or no.
func answer(s policy.Step) string {
	switch {
	case s.Gate != policy.Injector || s.Outcome == policy.NotEvaluated:
		return ""
	case s.Outcome == policy.Passed:
		return "no, "
	}
	return "yes, "
}

// mark is ✓ for a rule that holds and ✗ for one that does not; heavier for one that decides.
func (w *writer) mark(s policy.Step) string {
	if s.Gate == policy.Injector && s.Outcome == policy.Passed {
		return w.paint.Quiet("✗")
	}
	switch s.Outcome {
	case policy.Passed, policy.Calls:
		return w.paint.Good("✓")
	case policy.Injects:
		return w.paint.Good("✔")
	case policy.Missed:
		return w.paint.Quiet("✗")
	case policy.Refuses:
		return w.paint.Bad("✘")
	case policy.Warns:
		return w.paint.Changed("!")
	case policy.NotEvaluated:
		return w.paint.Changed("?")
	case policy.NotReached:
	}
	return "·"
}

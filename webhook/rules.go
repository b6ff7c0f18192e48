package webhook

import (
	"encoding/json"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/sluicemesh/sluice/webhook/policy"
)

// parseRules reads the key "config". A selector that is none is left out with a note, as in
// Istio: the other pods of the mesh must not wait for it.
func parseRules(c injectorConfig, fallback policy.Policy) (rules policy.Rules, notes []string) {
	if c.Policy == "" {
		c.Policy = fallback
	}
	rules.Policy = c.Policy
	if c.Policy != policy.Enabled && c.Policy != policy.Disabled {
		notes = append(notes, fmt.Sprintf("injector config: policy %q is neither enabled nor disabled: no pod is injected", c.Policy))
	}
	for _, list := range []struct {
		name string
		in   []json.RawMessage
		out  *[]labels.Selector
	}{{"neverInjectSelector", c.Never, &rules.Never}, {"alwaysInjectSelector", c.Always, &rules.Always}} {
		var mistakes []error
		*list.out, mistakes = selectors(list.in)
		for _, m := range mistakes {
			notes = append(notes, fmt.Sprintf("injector config: %s: left out: %v", list.name, m))
		}
	}
	return rules, notes
}

// selectors reads selectors one by one, so that one that is none spoils no other.
func selectors(in []json.RawMessage) (out []labels.Selector, mistakes []error) {
	for i, data := range in {
		var s metav1.LabelSelector
		if err := json.Unmarshal(data, &s); err != nil {
			mistakes = append(mistakes, fmt.Errorf("element %d is no selector: %w", i, err))
			continue
		}
		one, errs := policy.Selectors([]metav1.LabelSelector{s})
		out = append(out, one...)
		for _, err := range errs {
			mistakes = append(mistakes, fmt.Errorf("element %d: %w", i, err))
		}
	}
	return out, mistakes
}

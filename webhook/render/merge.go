package render

import (
	"encoding/json"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
)

// autoImage is what users write for "the image of the mesh".
const autoImage = "auto"

// InvalidContainer is the reason of the problem of a user's container that cannot be
// merged with the injected one.
const InvalidContainer = "InvalidContainer"

// merge lays the user's own container over the injected one with the semantics of
// kubectl patch: lists by their keys, the user's fields win.
func (w *writer) merge(injected corev1.Container, user *corev1.Container) (corev1.Container, bool) {
	if user == nil {
		return injected, true
	}
	if err := overlay(&injected, *user); err != nil {
		w.report("spec.containers["+injected.Name+"]", InvalidContainer, true, err.Error())
		return injected, false
	}
	return injected, true
}

func overlay(injected *corev1.Container, user corev1.Container) error {
	if user.Image == autoImage || user.Image == "" {
		user.Image = ""
		// The API server fills in Always, because "auto" has no tag; the user did not ask for it.
		if user.ImagePullPolicy == corev1.PullAlways {
			user.ImagePullPolicy = ""
		}
	}
	rest := setAside(&user, injected)
	giveWay(injected, &user)
	base, err := json.Marshal(injected)
	if err != nil {
		return fmt.Errorf("encode injected container: %w", err)
	}
	patch, err := json.Marshal(user)
	if err != nil {
		return fmt.Errorf("encode container: %w", err)
	}
	merged, err := strategicpatch.StrategicMergePatch(base, patch, corev1.Container{})
	if err != nil {
		return fmt.Errorf("merge container: %w", err)
	}
	var out corev1.Container
	if err := json.Unmarshal(merged, &out); err != nil {
		return fmt.Errorf("merge container: %w", err)
	}
	out.Env = inOrder(out.Env, injected.Env)
	rest.putBack(&out)
	*injected = out
	return nil
}

// inOrder puts the injected variables first, in their order: the user's may refer to them.
func inOrder(merged, injected []corev1.EnvVar) []corev1.EnvVar {
	rank := make(map[string]int, len(injected))
	for i := range injected {
		rank[injected[i].Name] = i - len(injected)
	}
	slices.SortStableFunc(merged, func(a, b corev1.EnvVar) int { return rank[a.Name] - rank[b.Name] })
	return merged
}

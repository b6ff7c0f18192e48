// Package notice publishes Events about pods: at most one per object, reason and, of a
// warning, text in ten minutes, never more than a bounded rate, and never waiting for the API server.
//
// What is to be said comes from the webhook's answers and from the auditor; Events go to
// the recorder of the manager, which writes them in the background. A notice that the rate
// holds back is the caller's to post again; metrics count what it was about all the same. The package decides nothing and reads
// nothing from the API server.
package notice

import (
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/cache"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/flowcontrol"
)

const (
	// quiet is how long the same is not said again.
	quiet = 10 * time.Minute
	// remembered bounds the memory for that: some 300 bytes each, a warning's text on top.
	remembered = 4096
	// perSecond and burst bound what the API server is asked to write.
	perSecond, burst = 5, 100
	// longest is the API server's limit for an Event's text, in bytes.
	longest = 1024
)

// Notice is something to say about an object.
type Notice struct {
	// Regarding is the object; its namespace is also the Event's.
	Regarding corev1.ObjectReference
	// Related is the pod, where Regarding is the namespace that others share: the recorder
	// takes Events of one object and reason for repetitions unless it differs. Nil for none.
	Related *corev1.ObjectReference
	Warning bool
	// Reason is a stable UpperCamel code, Action what was tried, UpperCamel as well.
	Reason, Action string
	// Message is for the user; lines are joined, and beyond 1024 bytes it is cut.
	Message string
}

// Board publishes notices. It is safe for concurrent use.
type Board struct {
	recorder events.EventRecorder
	limit    flowcontrol.RateLimiter

	mu   sync.Mutex
	seen *cache.LRUExpireCache // by object, reason and, of a warning, text
}

// NewBoard returns a board that writes to recorder, which must not block.
func NewBoard(recorder events.EventRecorder) *Board {
	return &Board{
		recorder: recorder,
		limit:    flowcontrol.NewTokenBucketRateLimiter(perSecond, burst),
		seen:     cache.NewLRUExpireCache(remembered),
	}
}

// Post publishes a notice, unless the same was said less than ten minutes ago. It reports
// false for one that comes too soon after too many others: it may be posted again later.
func (b *Board) Post(n Notice) bool {
	r := n.Regarding
	text := cut(strings.ReplaceAll(n.Message, "\n", "; ")) // tables show the first line only
	key := strings.Join([]string{r.Kind, r.Namespace, r.Name, n.Reason}, "/")
	if n.Warning {
		// Pods without a controller share their namespace: each mistake is told.
		key += "/" + text
	}
	b.mu.Lock()
	_, said := b.seen.Get(key)
	taken := !said && b.limit.TryAccept()
	if taken {
		b.seen.Add(key, nil, quiet)
	}
	b.mu.Unlock()
	if taken {
		b.publish(n, text)
	}
	return said || taken
}

func (b *Board) publish(n Notice, text string) {
	kind := corev1.EventTypeNormal
	if n.Warning {
		kind = corev1.EventTypeWarning
	}
	var related runtime.Object // not a nil pointer in an interface
	if n.Related != nil {
		related = n.Related
	}
	b.recorder.Eventf(&n.Regarding, related, kind, n.Reason, n.Action, "%s", text)
}

// Owner returns what a notice about a pod is attached to when the pod itself does not
// exist, or not yet: its controller, else its namespace.
func Owner(namespace string, owners []metav1.OwnerReference) corev1.ObjectReference {
	for _, o := range owners {
		if o.Controller != nil && *o.Controller {
			return corev1.ObjectReference{APIVersion: o.APIVersion, Kind: o.Kind, Namespace: namespace, Name: o.Name, UID: o.UID}
		}
	}
	// The Event lies in the namespace, where its users look.
	return corev1.ObjectReference{APIVersion: "v1", Kind: "Namespace", Namespace: namespace, Name: namespace}
}

// cut shortens a text to what the API server takes, at the border of a character.
func cut(text string) string {
	if len(text) <= longest {
		return text
	}
	const rest = " …"
	end := longest - len(rest)
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + rest
}

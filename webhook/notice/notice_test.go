package notice_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/sluicemesh/sluice/webhook/notice"
)

// notes keeps the texts of Events.
type notes []string

func (n *notes) Eventf(_, _ runtime.Object, kind, reason, _, note string, args ...any) {
	*n = append(*n, kind+" "+reason+" "+fmt.Sprintf(note, args...))
}

func about(name, reason string) notice.Notice {
	return notice.Notice{
		Regarding: corev1.ObjectReference{Kind: "ReplicaSet", Namespace: "shop", Name: name}, Reason: reason, Action: "Inject", Message: name,
	}
}

func TestOncePerTenMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said notes
		board := notice.NewBoard(&said)
		warning := about("b", "HostNetwork")
		warning.Warning, warning.Message = true, "100 %s"
		for _, n := range []notice.Notice{about("a", "HostNetwork"), about("a", "HostNetwork"), warning, about("a", "NeverSelected")} {
			board.Post(n)
		}
		time.Sleep(10*time.Minute - time.Second) //nolint:forbidigo // the bubble's clock
		if !board.Post(about("a", "HostNetwork")) || len(said) != 3 {
			t.Errorf("held back, or said again within ten minutes: %v", said)
		}
		time.Sleep(2 * time.Second) //nolint:forbidigo // the bubble's clock
		board.Post(about("a", "HostNetwork"))
		want := notes{"Normal HostNetwork a", "Warning HostNetwork 100 %s", "Normal NeverSelected a", "Normal HostNetwork a"}
		if diff := cmp.Diff(want, said); diff != "" {
			t.Error(diff)
		}
	})
}

// TestWarnings holds that two mistakes of pods that share an object are both told, each
// once and on one line.
func TestWarnings(t *testing.T) {
	var said notes
	board := notice.NewBoard(&said)
	for _, message := range []string{"Pod shop/a: x\nPod shop/a: y", "Pod shop/b: x", "Pod shop/b: x"} {
		n := about("shop", "TemplateFailed")
		n.Warning, n.Message = true, message
		board.Post(n)
	}
	want := notes{"Warning TemplateFailed Pod shop/a: x; Pod shop/a: y", "Warning TemplateFailed Pod shop/b: x"}
	if diff := cmp.Diff(want, said); diff != "" {
		t.Error(diff)
	}
}

func TestRateIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said notes
		board := notice.NewBoard(&said)
		held := 0
		for i := range 10_000 {
			if !board.Post(about(fmt.Sprint(i), "HostNetwork")) {
				held++
			}
		}
		if len(said) != 100 || held != 9_900 {
			t.Errorf("%d Events at once, %d held back; want 100, 9900", len(said), held)
		}
		time.Sleep(2 * time.Second) //nolint:forbidigo // the bubble's clock
		for i := range 10_000 {
			board.Post(about(fmt.Sprint(i), "HostNetwork"))
		}
		if len(said) != 110 {
			t.Errorf("%d Events after two seconds; want 110", len(said))
		}
	})
}

func TestLongMessage(t *testing.T) {
	for _, message := range []string{strings.Repeat("ä", 700), "x" + strings.Repeat("ä", 700), strings.Repeat("a", 1024), "short"} {
		var said notes
		n := about("a", "R")
		n.Message = message
		notice.NewBoard(&said).Post(n)
		got := strings.TrimPrefix(said[0], "Normal R ")
		start, cut := strings.CutSuffix(got, " …")
		if len(got) > 1024 || !utf8.ValidString(got) || cut != (len(message) > 1024) || !strings.HasPrefix(message, start) {
			t.Errorf("a message of %d bytes became %d bytes: %q", len(message), len(got), got)
		}
	}
}

func TestOwner(t *testing.T) {
	yes, no := true, false
	ref := metav1.OwnerReference{APIVersion: "batch/v1", Kind: "Job", Name: "j", UID: "u", Controller: &yes}
	other := metav1.OwnerReference{APIVersion: "v1", Kind: "Thing", Name: "t", UID: "v", Controller: &no}
	job := corev1.ObjectReference{APIVersion: "batch/v1", Kind: "Job", Namespace: "shop", Name: "j", UID: "u"}
	if diff := cmp.Diff(job, notice.Owner("shop", []metav1.OwnerReference{other, ref})); diff != "" {
		t.Error(diff)
	}
	space := corev1.ObjectReference{APIVersion: "v1", Kind: "Namespace", Namespace: "shop", Name: "shop"}
	if diff := cmp.Diff(space, notice.Owner("shop", []metav1.OwnerReference{other})); diff != "" {
		t.Error(diff)
	}
}

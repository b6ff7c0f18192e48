package auth

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	authv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluicemesh/sluice/internal/identity"
)

// reviewer answers with a fixed status and counts how often it is asked.
type reviewer struct {
	status authv1.TokenReviewStatus
	err    error
	asked  int
}

func (r *reviewer) Create(_ context.Context, review *authv1.TokenReview, _ metav1.CreateOptions) (*authv1.TokenReview, error) {
	r.asked++
	return &authv1.TokenReview{Spec: review.Spec, Status: r.status}, r.err
}

func withToken(t *testing.T, token string) context.Context {
	return metadata.NewIncomingContext(t.Context(), metadata.Pairs("authorization", "Bearer "+token))
}

func good() authv1.TokenReviewStatus {
	return authv1.TokenReviewStatus{
		Authenticated: true, Audiences: []string{"istio-ca"},
		User: authv1.UserInfo{Username: "system:serviceaccount:default:sleep"},
	}
}

func TestTokenVerdicts(t *testing.T) {
	for name, c := range map[string]struct {
		status authv1.TokenReviewStatus
		err    error
		want   string // part of the error, empty: accepted
	}{
		"good":              {status: good()},
		"api server down":   {err: errors.New("connection refused"), want: "connection refused"},
		"not authenticated": {status: authv1.TokenReviewStatus{}, want: "not authenticated"},
		"expired":           {status: authv1.TokenReviewStatus{Error: "token has expired"}, want: "token has expired"},
		"other audience":    {status: func() authv1.TokenReviewStatus { s := good(); s.Audiences = []string{"api"}; return s }(), want: `want "istio-ca"`},
		"no audience":       {status: func() authv1.TokenReviewStatus { s := good(); s.Audiences = nil; return s }(), want: `want "istio-ca"`},
		"not an account":    {status: func() authv1.TokenReviewStatus { s := good(); s.User.Username = "admin"; return s }(), want: `"admin" is not a service account`},
	} {
		t.Run(name, func(t *testing.T) {
			a := New(&reviewer{status: c.status, err: c.err}, "cluster.local", time.Now)
			id, err := a.Authenticate(withToken(t, "t"))
			if c.want == "" {
				if err != nil || id != (identity.Identity{TrustDomain: "cluster.local", Namespace: "default", ServiceAccount: "sleep"}) {
					t.Errorf("Authenticate = %v, %v", id, err)
				}
				return
			}
			if status.Code(err) != codes.Unauthenticated || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Authenticate error %v, want Unauthenticated with %q", err, c.want)
			}
		})
	}
}

func TestNoProof(t *testing.T) {
	_, err := New(&reviewer{}, "cluster.local", time.Now).Authenticate(t.Context())
	if status.Code(err) != codes.Unauthenticated {
		t.Errorf("err = %v", err)
	}
}

func TestVerdictIsKeptForAMinute(t *testing.T) {
	r := &reviewer{status: good()}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	a := New(r, "cluster.local", func() time.Time { return now })
	for range 3 {
		if _, err := a.Authenticate(withToken(t, "t")); err != nil {
			t.Fatal(err)
		}
	}
	if r.asked != 1 {
		t.Errorf("asked %d times within a minute, want 1", r.asked)
	}
	now = now.Add(time.Minute)
	r.status = authv1.TokenReviewStatus{Error: "revoked"}
	if _, err := a.Authenticate(withToken(t, "t")); err == nil {
		t.Error("a revoked token is accepted after a minute")
	}
	if r.asked != 2 {
		t.Errorf("asked %d times, want 2", r.asked)
	}
}

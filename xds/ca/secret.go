package ca

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
)

// The Secret that holds the self-signed root. Name, type and keys are Istio's.
const (
	SecretName = "istio-ca-secret"
	SecretType = corev1.SecretType("istio.io/ca-root")
	secretCert = "ca-cert.pem"
	secretKey  = "ca-key.pem"
)

// Load returns the authority whose root the Secret in secrets' namespace holds, and makes
// both when there is none. Of several replicas that start at once one creates the Secret
// and the others read it. A Secret that holds something unusable is an error, never
// replaced: workloads trust what it was made for.
func Load(ctx context.Context, secrets clientcorev1.SecretInterface, trustDomain string, now func() time.Time) (*Authority, error) {
	secret, err := secrets.Get(ctx, SecretName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		secret, err = create(ctx, secrets, trustDomain, now())
	}
	if err != nil {
		return nil, fmt.Errorf("secret %s: %w", SecretName, err)
	}
	a, err := NewAuthority(secret.Data[secretCert], secret.Data[secretKey], now)
	if err != nil {
		return nil, fmt.Errorf("secret %s/%s: %w; restore it, or delete it and restart all workloads", secret.Namespace, SecretName, err)
	}
	return a, nil
}

// create stores a new root; if another replica was faster it returns that one's.
func create(ctx context.Context, secrets clientcorev1.SecretInterface, trustDomain string, now time.Time) (*corev1.Secret, error) {
	cert, key, err := NewRoot(trustDomain, now)
	if err != nil {
		return nil, err
	}
	made, err := secrets.Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: SecretName},
		Type:       SecretType,
		Data:       map[string][]byte{secretCert: cert, secretKey: key},
	}, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return secrets.Get(ctx, SecretName, metav1.GetOptions{})
	}
	return made, err
}

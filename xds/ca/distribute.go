package ca

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// The ConfigMap that carries the root into each namespace; pods mount it.
const (
	RootConfigMap    = "istio-ca-root-cert"
	RootConfigMapKey = "root-cert.pem"
	fieldOwner       = client.FieldOwner("sluice-ca")
)

// RootLabel marks the ConfigMaps that Distribute writes, with the value "true": outside its
// own namespace the control plane needs to watch no others.
const RootLabel = "istio.io/config"

// Distribute keeps the ConfigMap with the roots in every namespace that is not being
// deleted. It writes by server-side apply, so replicas and other owners do not fight.
func Distribute(mgr ctrl.Manager, roots func() []byte) error {
	d := &distributor{client: mgr.GetClient(), roots: roots}
	byNamespace := handler.EnqueueRequestsFromMapFunc(func(_ context.Context, o client.Object) []reconcile.Request {
		if o.GetName() != RootConfigMap {
			return nil
		}
		return []reconcile.Request{{NamespacedName: client.ObjectKey{Name: o.GetNamespace()}}}
	})
	return ctrl.NewControllerManagedBy(mgr).Named("root-certificate").
		For(&corev1.Namespace{}).
		Watches(&corev1.ConfigMap{}, byNamespace).
		Complete(d)
}

type distributor struct {
	client client.Client
	roots  func() []byte
}

// Reconcile brings one namespace's ConfigMap in line.
func (d *distributor) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var ns corev1.Namespace
	if err := d.client.Get(ctx, client.ObjectKey{Name: req.Name}, &ns); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if ns.Status.Phase == corev1.NamespaceTerminating {
		return ctrl.Result{}, nil
	}
	want := string(d.roots())
	var have corev1.ConfigMap
	err := d.client.Get(ctx, client.ObjectKey{Namespace: req.Name, Name: RootConfigMap}, &have)
	if err == nil && have.Data[RootConfigMapKey] == want {
		return ctrl.Result{}, nil
	}
	if err != nil && !apierrors.IsNotFound(err) {
		return ctrl.Result{}, fmt.Errorf("read configmap %s/%s: %w", req.Name, RootConfigMap, err)
	}
	apply := corev1ac.ConfigMap(RootConfigMap, req.Name).
		WithLabels(map[string]string{RootLabel: "true"}).
		WithData(map[string]string{RootConfigMapKey: want})
	if err := d.client.Apply(ctx, apply, fieldOwner, client.ForceOwnership); err != nil {
		if apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) || apierrors.IsNotFound(err) {
			return ctrl.Result{}, nil
		}
		return ctrl.Result{}, fmt.Errorf("write configmap %s/%s: %w", req.Name, RootConfigMap, err)
	}
	return ctrl.Result{}, nil
}

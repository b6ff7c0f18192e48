package balancer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	listers "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
)

// retry is the wait before another try when the API server refused a status.
const retry = time.Second

// Run keeps the status of the cluster's Services in line with Plan until ctx ends, and then returns nil. It returns an error only
// when it cannot watch. Shutdown order: the loop first, then the informer, whose goroutines have ended when Run returns.
func Run(ctx context.Context, client kubernetes.Interface, pool Pool, log *slog.Logger) error {
	factory := informers.NewSharedInformerFactory(client, 0)
	services := factory.Core().V1().Services()
	changed := make(chan struct{}, 1)
	notify := func() {
		select {
		case changed <- struct{}{}:
		default: // one is waiting to be taken; it stands for this change too
		}
	}
	_, err := services.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { notify() }, UpdateFunc: func(_, _ any) { notify() }, DeleteFunc: func(any) { notify() },
	})
	if err != nil {
		return fmt.Errorf("watch services: %w", err)
	}
	factory.Start(ctx.Done())
	defer factory.Shutdown()
	if !cache.WaitForCacheSync(ctx.Done(), services.Informer().HasSynced) {
		return nil // ctx ended
	}
	c := controller{client: client, pool: pool, services: services.Lister(), log: log}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
		if err := c.settle(ctx); err != nil {
			log.WarnContext(ctx, "status not written", "error", err)
			select {
			case <-ctx.Done():
			case <-time.After(retry):
				notify()
			}
		}
	}
}

type controller struct {
	client   kubernetes.Interface
	pool     Pool
	services listers.ServiceLister
	log      *slog.Logger
}

// settle writes every status that Plan asks for. A conflict or a deletion needs no treatment: the event of it comes next.
func (c controller) settle(ctx context.Context) error {
	list, err := c.services.List(labels.Everything())
	if err != nil {
		return fmt.Errorf("list services: %w", err)
	}
	var failed []error
	for _, change := range Plan(c.pool, list) {
		err := c.write(ctx, change)
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			failed = append(failed, fmt.Errorf("service %s/%s: %w", change.Service.Namespace, change.Service.Name, err))
		}
	}
	return errors.Join(failed...)
}

func (c controller) write(ctx context.Context, change Change) error {
	service := change.Service.DeepCopy()
	service.Status.LoadBalancer = corev1.LoadBalancerStatus{Ingress: change.Ingress}
	written, err := c.client.CoreV1().Services(service.Namespace).UpdateStatus(ctx, service, metav1.UpdateOptions{})
	if err != nil {
		return err
	}
	c.log.InfoContext(ctx, "addresses written", "namespace", written.Namespace, "service", written.Name,
		"addresses", len(change.Ingress))
	return nil
}

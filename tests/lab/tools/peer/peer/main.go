// peer is what `make bench-operator` measures the operator beside: an operator for TradingBots on controller-runtime as
// it is usually written. It reads from a cache, makes each child with CreateOrPatch, owns every kind, and patches the
// status when it changed. Its children have the kinds and the sizes of the operator's; it runs no agent.
//
// It is a careful one: caches hold labelled objects only and no managedFields, desired objects carry the API server's
// defaults so that nothing is patched in vain, and the client's rate limiter, which would let 20 calls a second pass, is
// off, as the operator has none.
package main

import (
	"flag"
	"os"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

func main() {
	ctrl.SetLogger(zap.New())
	if err := run(); err != nil {
		ctrl.Log.Error(err, "the peer ended")
		os.Exit(1)
	}
}

func run() error {
	concurrency := flag.Int("concurrency", 8, "bots that are looked at side by side")
	address := flag.String("address", "127.0.0.1:0", "where probes are served")
	image := flag.String("agent-image", "", "image of the agents")
	elect := flag.Bool("leader-election", false, "only the holder of a Lease writes")
	namespace := flag.String("leader-election-namespace", "default", "where that Lease is")
	lease := flag.Duration("lease-duration", 15*time.Second, "for how long it is held")
	renew := flag.Duration("renew-deadline", 10*time.Second, "after which a holder that cannot renew gives up")
	retry := flag.Duration("retry-period", 2*time.Second, "between attempts")
	flag.Parse()

	config, err := ctrl.GetConfig()
	if err != nil {
		return err
	}
	config.QPS = -1
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		return err
	}
	if err := AddToScheme(scheme); err != nil {
		return err
	}

	owned := []client.Object{
		&corev1.ServiceAccount{}, &rbacv1.Role{}, &rbacv1.RoleBinding{}, &corev1.ConfigMap{}, &corev1.Secret{},
		&coordinationv1.Lease{}, &corev1.PersistentVolumeClaim{}, &corev1.Service{}, &networkingv1.NetworkPolicy{},
		&appsv1.Deployment{},
	}
	labelled := cache.ByObject{Label: labels.SelectorFromSet(labels.Set{managedByLabel: managedBy})}
	byObject := map[client.Object]cache.ByObject{}
	for _, kind := range owned {
		byObject[kind] = labelled
	}
	manager, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:                        scheme,
		Cache:                         cache.Options{ByObject: byObject, DefaultTransform: cache.TransformStripManagedFields()},
		Metrics:                       server.Options{BindAddress: "0"},
		HealthProbeBindAddress:        *address,
		LeaderElection:                *elect,
		LeaderElectionID:              "tradingbot-peer",
		LeaderElectionNamespace:       *namespace,
		LeaderElectionReleaseOnCancel: true,
		LeaseDuration:                 lease,
		RenewDeadline:                 renew,
		RetryPeriod:                   retry,
	})
	if err != nil {
		return err
	}
	if err := manager.AddReadyzCheck("ping", healthz.Ping); err != nil {
		return err
	}
	builder := ctrl.NewControllerManagedBy(manager).
		For(&TradingBot{}).
		WithOptions(controller.Options{MaxConcurrentReconciles: *concurrency})
	for _, kind := range owned {
		builder = builder.Owns(kind)
	}
	err = builder.Complete(&Reconciler{
		Client:   manager.GetClient(),
		Scheme:   scheme,
		Recorder: manager.GetEventRecorder("tradingbot-peer"),
		Image:    *image,
	})
	if err != nil {
		return err
	}
	return manager.Start(ctrl.SetupSignalHandler())
}

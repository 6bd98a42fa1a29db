package main

import (
	"context"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// Reconciler makes the children of a bot and says in its status how they are.
type Reconciler struct {
	client.Client
	Scheme   *runtime.Scheme
	Recorder events.EventRecorder
	Image    string
}

// Reconcile looks at one bot.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	bot := &TradingBot{}
	if err := r.Get(ctx, request.NamespacedName, bot); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !bot.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, nil
	}
	rendering, err := render(bot)
	if err != nil {
		return ctrl.Result{}, fmt.Errorf("rendering the configuration: %w", err)
	}
	lease := &coordinationv1.Lease{}
	deployment := &appsv1.Deployment{}
	for _, child := range children(bot, rendering, r.Image, lease, deployment) {
		child.object.SetNamespace(bot.Namespace)
		child.object.SetName(child.name)
		_, err := controllerutil.CreateOrPatch(ctx, r.Client, child.object, func() error {
			setLabels(child.object, bot)
			if err := child.mutate(); err != nil {
				return err
			}
			return controllerutil.SetControllerReference(bot, child.object, r.Scheme)
		})
		if err != nil {
			return ctrl.Result{}, fmt.Errorf("%T %s: %w", child.object, child.name, err)
		}
	}
	return r.report(ctx, bot, rendering, lease, deployment)
}

// report writes the status when it changed, and comes back when the agent's Lease runs out.
func (r *Reconciler) report(
	ctx context.Context,
	bot *TradingBot,
	rendering rendering,
	lease *coordinationv1.Lease,
	deployment *appsv1.Deployment,
) (ctrl.Result, error) {
	before := bot.DeepCopy()
	left := remaining(lease)
	connected := condition(bot, "AgentConnected", left > 0, "LeaseHeld", "AgentNotConnected", "an agent holds the lease and renews it")
	ready := condition(bot, "Ready", false, "AgentReady", "AgentStarting", "the agent's pod is not available yet")
	switch {
	case deployment.Status.ObservedGeneration < deployment.Generation || deployment.Status.AvailableReplicas < 1:
	case left <= 0:
		ready.Reason, ready.Message = "AgentNotConnected", "no agent holds the lease yet"
	case bot.Status.Agent == nil || bot.Status.Agent.ConfigHash != rendering.hash:
		ready.Reason, ready.Message = "ConfigPending", "the agent is to take over "+rendering.hash[:12]
	default:
		ready.Status, ready.Reason = metav1.ConditionTrue, "AgentReady"
		ready.Message = "the agent runs configuration " + rendering.hash[:12]
	}
	status := &bot.Status
	status.ObservedGeneration = bot.Generation
	status.ConfigHash = rendering.hash
	status.APIKeySecret = secretName(bot)
	status.Summary = &Summary{State: "Running", Venues: "paper", Models: "rules", Assets: bot.Spec.Assets[0].Pair}
	meta.SetStatusCondition(&status.Conditions, ready)
	if ready.Status == metav1.ConditionTrue {
		meta.RemoveStatusCondition(&status.Conditions, "Reconciling")
	} else {
		meta.SetStatusCondition(&status.Conditions, condition(bot, "Reconciling", true, ready.Reason, "", ready.Message))
	}
	meta.SetStatusCondition(&status.Conditions, condition(bot, "ConfigValid", true, "Valid", "", "the spec makes a configuration"))
	meta.SetStatusCondition(&status.Conditions, connected)
	if !equality.Semantic.DeepEqual(before.Status, bot.Status) {
		if err := r.Status().Patch(ctx, bot, client.MergeFrom(before)); err != nil {
			return ctrl.Result{}, client.IgnoreNotFound(err)
		}
		log.FromContext(ctx).Info("status written", "ready", ready.Status, "reason", ready.Reason)
		was := meta.FindStatusCondition(before.Status.Conditions, "Ready")
		if was == nil || was.Status != ready.Status || before.Status.ObservedGeneration != bot.Generation {
			r.Recorder.Eventf(bot, nil, "Normal", ready.Reason, "Reconcile", "%s", ready.Message)
		}
	}
	return ctrl.Result{RequeueAfter: left}, nil
}

func condition(bot *TradingBot, kind string, holds bool, yes, no, message string) metav1.Condition {
	status, reason := metav1.ConditionTrue, yes
	if !holds {
		status, reason = metav1.ConditionFalse, no
	}
	return metav1.Condition{
		Type: kind, Status: status, Reason: reason, Message: message, ObservedGeneration: bot.Generation,
	}
}

// remaining says for how long the agent still holds its Lease; zero when nobody does.
func remaining(lease *coordinationv1.Lease) time.Duration {
	spec := lease.Spec
	if spec.HolderIdentity == nil || *spec.HolderIdentity == "" || spec.RenewTime == nil || spec.LeaseDurationSeconds == nil {
		return 0
	}
	until := spec.RenewTime.Add(time.Duration(*spec.LeaseDurationSeconds) * time.Second)
	return max(time.Until(until), 0)
}

package main

import (
	"crypto/rand"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	managedByLabel = "app.kubernetes.io/managed-by"
	// The operator's own value, so that one faker plays the agents of both.
	managedBy = "tradingbot-operator"
	botLabel  = "trading.three-rivers-tech.com/bot"
)

//go:embed defaults.json
var defaults []byte

// rendering is the configuration as the agent mounts it.
type rendering struct {
	text, hash, restartHash string
}

// render lays the spec over the defaults.
func render(bot *TradingBot) (rendering, error) {
	config := map[string]any{}
	if err := json.Unmarshal(defaults, &config); err != nil {
		return rendering{}, err
	}
	config["assets"] = []any{map[string]any{
		"feed": "bars", "pair": bot.Spec.Assets[0].Pair, "venue": "paper", "risk": config["assetRisk"],
	}}
	delete(config, "assetRisk")
	config["feeds"] = bot.Spec.Feeds
	if bot.Spec.Risk != nil && bot.Spec.Risk.MaxOpenPositions != nil {
		config["risk"].(map[string]any)["maxOpenPositions"] = *bot.Spec.Risk.MaxOpenPositions
	}
	text, err := json.Marshal(config)
	if err != nil {
		return rendering{}, err
	}
	hash := digest(string(text))
	feeds, err := json.Marshal(config["feeds"])
	if err != nil {
		return rendering{}, err
	}
	whole, err := json.Marshal(map[string]any{
		"config": config, "configHash": hash, "configVersion": 1, "generation": bot.Generation,
	})
	return rendering{text: string(whole), hash: hash, restartHash: digest(string(feeds))}, err
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// child is an object and what it should be.
type child struct {
	object client.Object
	name   string
	mutate func() error
}

// children are all objects of a bot in the order of their writing; lease and deployment are filled with what is there.
func children(
	bot *TradingBot, rendering rendering, image string, lease *coordinationv1.Lease, deployment *appsv1.Deployment,
) []child {
	account := &corev1.ServiceAccount{}
	role := &rbacv1.Role{}
	binding := &rbacv1.RoleBinding{}
	config := &corev1.ConfigMap{}
	secret := &corev1.Secret{}
	claim := &corev1.PersistentVolumeClaim{}
	service := &corev1.Service{}
	policy := &networkingv1.NetworkPolicy{}
	return []child{
		{account, bot.Name, func() error {
			account.AutomountServiceAccountToken = ptr.To(false)
			return nil
		}},
		{role, bot.Name, func() error {
			role.Rules = []rbacv1.PolicyRule{
				rule(groupVersion.Group, "tradingbots", bot.Name, "get"),
				rule(groupVersion.Group, "tradingbots/status", bot.Name, "patch"),
				rule("", "configmaps", bot.Name, "get", "list", "watch"),
				rule("coordination.k8s.io", "leases", bot.Name, "get", "update"),
			}
			return nil
		}},
		{binding, bot.Name, func() error {
			binding.RoleRef = rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: bot.Name}
			binding.Subjects = []rbacv1.Subject{{Kind: "ServiceAccount", Name: bot.Name, Namespace: bot.Namespace}}
			return nil
		}},
		{config, bot.Name, func() error {
			config.Data = map[string]string{"config.json": rendering.text}
			return nil
		}},
		{secret, secretName(bot), func() error {
			if len(secret.Data) > 0 {
				return nil
			}
			secret.Type = corev1.SecretTypeOpaque
			secret.Data = map[string][]byte{"read": key(), "trade": key()}
			return nil
		}},
		{lease, bot.Name, func() error { return nil }},
		{claim, bot.Name, func() error {
			claim.Spec.AccessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}
			claim.Spec.Resources.Requests = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}
			return nil
		}},
		{service, bot.Name, func() error {
			service.Spec.Selector = selector(bot)
			service.Spec.Ports = []corev1.ServicePort{{
				Name: "http", Protocol: corev1.ProtocolTCP, Port: 8000, TargetPort: intstr.FromString("http"),
			}}
			return nil
		}},
		{policy, bot.Name, func() error {
			policy.Spec = networkPolicy(bot)
			return nil
		}},
		{deployment, bot.Name, func() error {
			if deployment.Annotations == nil {
				deployment.Annotations = map[string]string{}
			}
			for name, value := range map[string]string{
				"agent-image": image, "api-key-secret": secretName(bot), "defaults-version": "1",
			} {
				deployment.Annotations["trading.three-rivers-tech.com/"+name] = value
			}
			spec := &deployment.Spec
			spec.Replicas = ptr.To[int32](1)
			spec.RevisionHistoryLimit = ptr.To[int32](2)
			spec.Selector = &metav1.LabelSelector{MatchLabels: selector(bot)}
			spec.Strategy = appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType}
			spec.Template = podTemplate(bot, rendering, image)
			return nil
		}},
	}
}

func setLabels(object client.Object, bot *TradingBot) {
	merged := object.GetLabels()
	if merged == nil {
		merged = map[string]string{}
	}
	for name, value := range childLabels(bot) {
		merged[name] = value
	}
	object.SetLabels(merged)
}

func childLabels(bot *TradingBot) map[string]string {
	labels := selector(bot)
	labels[managedByLabel] = managedBy
	labels["app.kubernetes.io/instance"] = bot.Name
	return labels
}

func selector(bot *TradingBot) map[string]string {
	return map[string]string{"app.kubernetes.io/name": "tradingbot-agent", botLabel: bot.Name}
}

func secretName(bot *TradingBot) string { return fmt.Sprintf("%s-api-%.8s", bot.Name, bot.UID) }

func key() []byte {
	bytes := make([]byte, 32)
	rand.Read(bytes)
	return []byte(hex.EncodeToString(bytes))
}

func rule(group, resource, name string, verbs ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{
		APIGroups: []string{group}, Resources: []string{resource}, ResourceNames: []string{name}, Verbs: verbs,
	}
}

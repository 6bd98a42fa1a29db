package main

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
)

// podTemplate is the agent's pod, with the defaults that the API server would add: what is compared is whole.
func podTemplate(bot *TradingBot, rendering rendering, image string) corev1.PodTemplateSpec {
	level := "info"
	if bot.Spec.Agent != nil && bot.Spec.Agent.LogLevel != "" {
		level = bot.Spec.Agent.LogLevel
	}
	volumes := []corev1.Volume{
		configMapVolume("config", bot.Name),
		{Name: "keys", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{
			SecretName: secretName(bot), Optional: ptr.To(false), DefaultMode: ptr.To[int32](0o644),
		}}},
		{Name: "journal", VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: bot.Name},
		}},
		{Name: "tmp", VolumeSource: corev1.VolumeSource{
			EmptyDir: &corev1.EmptyDirVolumeSource{SizeLimit: ptr.To(resource.MustParse("64Mi"))},
		}},
	}
	mounts := []corev1.VolumeMount{
		{Name: "config", MountPath: "/etc/tradingbot/config", ReadOnly: true},
		{Name: "keys", MountPath: "/etc/tradingbot/keys", ReadOnly: true},
		{Name: "journal", MountPath: "/var/lib/tradingbot/journal"},
		{Name: "tmp", MountPath: "/tmp"},
	}
	for _, feed := range bot.Spec.Feeds {
		if feed.Replay == nil {
			continue
		}
		for _, data := range feed.Replay.Data {
			for _, bars := range data.ConfigMaps {
				volume := fmt.Sprintf("bars-%d", len(volumes)-4)
				volumes = append(volumes, configMapVolume(volume, bars.Name))
				mounts = append(mounts, corev1.VolumeMount{
					Name: volume, MountPath: "/var/lib/tradingbot/bars/" + bars.Name, ReadOnly: true,
				})
			}
		}
	}
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{
			Labels:      childLabels(bot),
			Annotations: map[string]string{"trading.three-rivers-tech.com/restart-hash": rendering.restartHash},
		},
		Spec: corev1.PodSpec{
			ServiceAccountName:            bot.Name,
			DeprecatedServiceAccount:      bot.Name,
			AutomountServiceAccountToken:  ptr.To(true),
			EnableServiceLinks:            ptr.To(false),
			TerminationGracePeriodSeconds: ptr.To[int64](30),
			RestartPolicy:                 corev1.RestartPolicyAlways,
			DNSPolicy:                     corev1.DNSClusterFirst,
			SchedulerName:                 corev1.DefaultSchedulerName,
			SecurityContext: &corev1.PodSecurityContext{
				RunAsNonRoot:        ptr.To(true),
				RunAsUser:           ptr.To[int64](65532),
				RunAsGroup:          ptr.To[int64](65532),
				FSGroup:             ptr.To[int64](65532),
				FSGroupChangePolicy: ptr.To(corev1.FSGroupChangeOnRootMismatch),
				SeccompProfile:      &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
			Tolerations: []corev1.Toleration{
				toleration("node.kubernetes.io/not-ready"), toleration("node.kubernetes.io/unreachable"),
			},
			Volumes: volumes,
			Containers: []corev1.Container{{
				Name:            "agent",
				Image:           image,
				ImagePullPolicy: corev1.PullIfNotPresent,
				Args:            []string{"run", "--cluster"},
				Env: []corev1.EnvVar{
					{Name: "BOT_NAME", Value: bot.Name},
					{Name: "BOT_UID", Value: string(bot.UID)},
					field("POD_NAMESPACE", "metadata.namespace"),
					field("POD_NAME", "metadata.name"),
					field("POD_UID", "metadata.uid"),
					{Name: "AGENT_IMAGE", Value: image},
					{Name: "LOG_LEVEL", Value: level},
				},
				Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8000, Protocol: corev1.ProtocolTCP}},
				Resources: corev1.ResourceRequirements{
					Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("64Mi")},
					Requests: corev1.ResourceList{
						corev1.ResourceCPU: resource.MustParse("10m"), corev1.ResourceMemory: resource.MustParse("32Mi"),
					},
				},
				SecurityContext: &corev1.SecurityContext{
					AllowPrivilegeEscalation: ptr.To(false),
					ReadOnlyRootFilesystem:   ptr.To(true),
					Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
				},
				StartupProbe:             probe("/livez", 1, 120),
				ReadinessProbe:           probe("/readyz", 1, 3),
				LivenessProbe:            probe("/livez", 2, 15),
				VolumeMounts:             mounts,
				TerminationMessagePath:   corev1.TerminationMessagePathDefault,
				TerminationMessagePolicy: corev1.TerminationMessageReadFile,
			}},
		},
	}
}

func configMapVolume(volume, name string) corev1.Volume {
	return corev1.Volume{Name: volume, VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
		LocalObjectReference: corev1.LocalObjectReference{Name: name}, DefaultMode: ptr.To[int32](0o644),
	}}}
}

func field(name, path string) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{
		FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: path},
	}}
}

func probe(path string, period, failures int32) *corev1.Probe {
	return &corev1.Probe{
		ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{
			Path: path, Port: intstr.FromString("http"), Scheme: corev1.URISchemeHTTP,
		}},
		PeriodSeconds: period, TimeoutSeconds: 2, FailureThreshold: failures, SuccessThreshold: 1,
	}
}

func toleration(key string) corev1.Toleration {
	return corev1.Toleration{
		Key: key, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute,
		TolerationSeconds: ptr.To[int64](30),
	}
}

func networkPolicy(bot *TradingBot) networkingv1.NetworkPolicySpec {
	port := func(protocol corev1.Protocol, number int32) networkingv1.NetworkPolicyPort {
		return networkingv1.NetworkPolicyPort{Protocol: ptr.To(protocol), Port: ptr.To(intstr.FromInt32(number))}
	}
	block := func(cidr string, except ...string) networkingv1.NetworkPolicyPeer {
		return networkingv1.NetworkPolicyPeer{IPBlock: &networkingv1.IPBlock{CIDR: cidr, Except: except}}
	}
	anywhere := []networkingv1.NetworkPolicyPeer{block("0.0.0.0/0", "169.254.0.0/16"), block("::/0", "fe80::/10")}
	tcp := corev1.ProtocolTCP
	return networkingv1.NetworkPolicySpec{
		PodSelector: metav1.LabelSelector{MatchLabels: selector(bot)},
		PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress},
		Ingress: []networkingv1.NetworkPolicyIngressRule{{
			From:  []networkingv1.NetworkPolicyPeer{{PodSelector: &metav1.LabelSelector{}}},
			Ports: []networkingv1.NetworkPolicyPort{port(tcp, 8000)},
		}},
		Egress: []networkingv1.NetworkPolicyEgressRule{
			{To: anywhere, Ports: []networkingv1.NetworkPolicyPort{port(corev1.ProtocolUDP, 53), port(tcp, 53)}},
			{To: anywhere, Ports: []networkingv1.NetworkPolicyPort{port(tcp, 443), port(tcp, 5432), port(tcp, 11434)}},
			{To: anywhere, Ports: []networkingv1.NetworkPolicyPort{port(tcp, 6443)}},
		},
	}
}

//! The agent's pod.

use std::collections::BTreeMap;

use crds::api::Journal;
use crds::contract::{
    AGENT_PORT, BARS_DIR, CERTIFICATE_DIR, CERTIFICATE_KEY, CONFIG_DIR, JOURNAL_DIR, KEYS_DIR,
    api_secret_name, child_name, env,
};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy};
use k8s_openapi::api::core::v1::{
    Capabilities, ConfigMapVolumeSource, Container, ContainerPort, EmptyDirVolumeSource, EnvVar,
    EnvVarSource, HTTPGetAction, KeyToPath, ObjectFieldSelector, PersistentVolumeClaimVolumeSource,
    PodSecurityContext, PodSpec, PodTemplateSpec, Probe, SeccompProfile, SecretVolumeSource, SecurityContext,
    Toleration, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::super::validate::Validated;
use super::{annotation, labels, named_after, pinned, selector};

/// The user of distroless images that is not root.
const NON_ROOT: i64 = 65532;
/// A pod leaves a node that is gone after so many seconds instead of five minutes.
const TOLERATE_LOST_NODE_SECONDS: i64 = 30;

/// Builds the Deployment: one pod at most, the old one gone before the new one starts.
pub fn build(bot: &Validated) -> Deployment {
    let mut metadata = named_after(&bot.owner);
    let mut annotations = pinned(bot);
    annotations
        .insert(annotation::API_KEY_SECRET.to_owned(), api_secret_name(&bot.owner.name, &bot.owner.uid));
    metadata.annotations = Some(annotations);
    Deployment {
        metadata,
        spec: Some(DeploymentSpec {
            replicas: Some(1),
            revision_history_limit: Some(2),
            selector: LabelSelector { match_labels: Some(selector(&bot.owner)), ..LabelSelector::default() },
            strategy: Some(DeploymentStrategy {
                type_: Some("Recreate".into()),
                ..DeploymentStrategy::default()
            }),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(labels(&bot.owner)),
                    // The one hash whose change restarts the agent; what it can change while it runs is not in it.
                    annotations: Some(BTreeMap::from([(
                        annotation::RESTART_HASH.to_owned(),
                        bot.restart_hash.clone(),
                    )])),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod(bot)),
            },
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    }
}

fn pod(bot: &Validated) -> PodSpec {
    let (volumes, mounts) = volumes(bot);
    PodSpec {
        service_account_name: Some(child_name(&bot.owner.name)),
        automount_service_account_token: Some(true),
        enable_service_links: Some(false),
        termination_grace_period_seconds: Some(30),
        node_selector: Some(bot.deployment.node_selector.clone()).filter(|labels| !labels.is_empty()),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(NON_ROOT),
            run_as_group: Some(NON_ROOT),
            fs_group: Some(NON_ROOT),
            fs_group_change_policy: Some("OnRootMismatch".into()),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".into(),
                ..SeccompProfile::default()
            }),
            ..PodSecurityContext::default()
        }),
        tolerations: Some(
            ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"].map(tolerate_lost_node).into(),
        ),
        containers: vec![Container {
            name: "agent".into(),
            image: Some(bot.image.clone()),
            image_pull_policy: Some("IfNotPresent".into()),
            args: Some(vec!["run".into(), "--cluster".into()]),
            env: Some(environment(bot)),
            ports: Some(vec![ContainerPort {
                name: Some("http".into()),
                container_port: i32::from(AGENT_PORT),
                protocol: Some("TCP".into()),
                ..ContainerPort::default()
            }]),
            resources: Some(bot.deployment.resources.clone()),
            security_context: Some(SecurityContext {
                allow_privilege_escalation: Some(false),
                read_only_root_filesystem: Some(true),
                capabilities: Some(Capabilities { drop: Some(vec!["ALL".into()]), add: None }),
                ..SecurityContext::default()
            }),
            // The agent answers before it reads its journal; two minutes for a node that is busy.
            startup_probe: Some(probe("/livez", 1, 120)),
            readiness_probe: Some(probe("/readyz", 1, 3)),
            liveness_probe: Some(probe("/livez", 2, 15)),
            volume_mounts: Some(mounts),
            ..Container::default()
        }],
        volumes: Some(volumes),
        ..PodSpec::default()
    }
}

fn tolerate_lost_node(key: &str) -> Toleration {
    Toleration {
        key: Some(key.into()),
        operator: Some("Exists".into()),
        effect: Some("NoExecute".into()),
        toleration_seconds: Some(TOLERATE_LOST_NODE_SECONDS),
        ..Toleration::default()
    }
}

fn probe(path: &str, period_seconds: i32, failure_threshold: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.into()),
            port: IntOrString::String("http".into()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period_seconds),
        timeout_seconds: Some(2),
        failure_threshold: Some(failure_threshold),
        ..Probe::default()
    }
}

fn environment(bot: &Validated) -> Vec<EnvVar> {
    let value = |name: &str, value: &str| EnvVar {
        name: name.into(),
        value: Some(value.into()),
        ..EnvVar::default()
    };
    let field = |name: &str, path: &str| EnvVar {
        name: name.into(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                field_path: path.into(),
                ..ObjectFieldSelector::default()
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    };
    let mut variables = vec![
        value(env::BOT_NAME, &bot.owner.name),
        value(env::BOT_UID, &bot.owner.uid),
        field(env::NAMESPACE, "metadata.namespace"),
        field(env::POD_NAME, "metadata.name"),
        field(env::POD_UID, "metadata.uid"),
        value(env::AGENT_IMAGE, &bot.image),
        value(env::LOG_LEVEL, &bot.deployment.log_level),
    ];
    variables.extend(bot.deployment.expose.iter().map(|expose| value(env::EXPOSE_PATH, &expose.path)));
    variables.extend(mounted_certificate(bot).map(|secret| value(env::TLS_SECRET, secret)));
    variables
}

/// The Secret whose certificate only the agent can read: the operator may not, and no Certificate tells of it.
fn mounted_certificate(bot: &Validated) -> Option<&str> {
    let tls = bot.deployment.expose.as_ref()?.tls.as_ref()?;
    tls.issuer_ref.is_none().then_some(tls.secret_name.as_str())
}

fn volumes(bot: &Validated) -> (Vec<Volume>, Vec<VolumeMount>) {
    let name = child_name(&bot.owner.name);
    let config_map = |volume: &str, name: &str| Volume {
        name: volume.into(),
        config_map: Some(ConfigMapVolumeSource { name: name.into(), ..ConfigMapVolumeSource::default() }),
        ..Volume::default()
    };
    let mount = |volume: &str, path: &str, read_only: bool| VolumeMount {
        name: volume.into(),
        mount_path: path.into(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    };
    let claim = match &bot.deployment.journal {
        Journal::Own { .. } => name.clone(),
        Journal::Existing(claim) => claim.clone(),
    };
    let mut volumes = vec![
        config_map("config", &name),
        Volume {
            name: "keys".into(),
            secret: Some(SecretVolumeSource {
                secret_name: Some(api_secret_name(&bot.owner.name, &bot.owner.uid)),
                optional: Some(false),
                ..SecretVolumeSource::default()
            }),
            ..Volume::default()
        },
        Volume {
            name: "journal".into(),
            persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                claim_name: claim,
                ..PersistentVolumeClaimVolumeSource::default()
            }),
            ..Volume::default()
        },
        // SQLite writes large sorts to a temporary file, and the root is read-only.
        Volume {
            name: "tmp".into(),
            empty_dir: Some(EmptyDirVolumeSource {
                size_limit: Some(Quantity("64Mi".into())),
                ..EmptyDirVolumeSource::default()
            }),
            ..Volume::default()
        },
    ];
    let mut mounts = vec![
        mount("config", CONFIG_DIR, true),
        mount("keys", KEYS_DIR, true),
        mount("journal", JOURNAL_DIR, false),
        mount("tmp", "/tmp", false),
    ];
    if let Some(secret) = mounted_certificate(bot) {
        mounts.push(mount("certificate", CERTIFICATE_DIR, true));
        volumes.push(Volume {
            name: "certificate".into(),
            secret: Some(SecretVolumeSource {
                secret_name: Some(secret.to_owned()),
                // It may come later, and the agent trades without it.
                optional: Some(true),
                // Never the private key.
                items: Some(vec![KeyToPath {
                    key: CERTIFICATE_KEY.into(),
                    path: CERTIFICATE_KEY.into(),
                    mode: None,
                }]),
                ..SecretVolumeSource::default()
            }),
            ..Volume::default()
        });
    }
    for (index, bars) in bot.bars.iter().enumerate() {
        // A ConfigMap's name may be longer than that of a volume.
        let volume = format!("bars-{index}");
        mounts.push(mount(&volume, &format!("{BARS_DIR}/{bars}"), true));
        volumes.push(config_map(&volume, bars));
    }
    (volumes, mounts)
}

#[cfg(test)]
mod tests {
    use super::super::super::validate::tests::{exposed, validated};
    use super::*;
    use serde_json::json;

    #[test]
    fn golden() {
        insta::assert_yaml_snapshot!(build(&validated()));
    }

    /// When this fails, the next release restarts every agent that runs: what a new field of the spec adds
    /// must leave the template of a bot that does not use it as it is.
    #[test]
    fn the_pod_template_is_the_same_to_the_byte_in_every_version_of_the_operator() {
        let template = build(&validated()).spec.unwrap().template;
        insta::assert_snapshot!("pod_template", serde_json::to_string_pretty(&template).unwrap());
    }

    #[test]
    fn the_journal_of_a_bot_that_brings_its_claim_is_on_that_claim() {
        let mut bot = validated();
        bot.deployment.journal = Journal::Existing("former".into());
        let pod = build(&bot).spec.unwrap().template.spec.unwrap();
        let journal = pod.volumes.unwrap().into_iter().find(|volume| volume.name == "journal").unwrap();
        assert_eq!(journal.persistent_volume_claim.unwrap().claim_name, "former");
    }

    #[test]
    fn an_exposed_agent_knows_its_path_and_reads_a_certificate_that_nobody_else_tells_of() {
        let pod = |tls: serde_json::Value| {
            let bot = exposed(json!({"host": "a.b", "path": "/btc", "ingress": {}, "tls": tls}));
            pod(&bot)
        };
        let names = |pod: &PodSpec| -> Vec<String> {
            let variables = pod.containers[0].env.iter().flatten();
            variables.filter_map(|v| Some(format!("{}={}", v.name, v.value.as_ref()?))).collect()
        };
        let mounted = pod(json!({"secretName": "bots-tls"}));
        assert!(names(&mounted).contains(&"EXPOSE_PATH=/btc".to_owned()), "{:?}", names(&mounted));
        assert!(names(&mounted).contains(&"TLS_SECRET=bots-tls".to_owned()));
        let volume = mounted.volumes.iter().flatten().find(|v| v.name == "certificate").unwrap();
        insta::assert_yaml_snapshot!(volume);
        let issued = pod(json!({"secretName": "bots-tls", "issuerRef": {"kind": "Issuer", "name": "ca"}}));
        assert!(!issued.volumes.iter().flatten().any(|v| v.name == "certificate"));
        assert!(!names(&issued).iter().any(|name| name.starts_with("TLS_SECRET")));
    }
}

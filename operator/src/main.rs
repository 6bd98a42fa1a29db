//! `tradingbot-operator`: see `tradingbot-operator run --help`.

use std::net::SocketAddr;
use std::sync::Arc;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Parser, Subcommand};
use operator::controller::{Installation, NetworkPolicyOptions};
use operator::leader::{Candidacy, Terms};
use operator::watch::Scope;
use operator::{Options, logging, run};

/// Turns TradingBots into running agents.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the operator, in a cluster or, with KUBECONFIG, beside one.
    Run(RunArgs),
}

#[derive(Debug, Args)]
struct RunArgs {
    /// Image of the agents whose bot names none. Pin it: it is what trades.
    #[arg(long, env = "AGENT_IMAGE")]
    agent_image: String,
    /// Secret to pull agents' images with; it must exist in the namespace of each bot. For more of them: several times,
    /// or with commas between them.
    #[arg(long, env = "AGENT_IMAGE_PULL_SECRET", value_name = "SECRET", value_delimiter = ',')]
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    agent_image_pull_secret: Vec<String>,
    /// What the network policies of all bots have in common, as JSON: `{"enabled": true, "apiServer": {"cidr": "",
    /// "port": 6443}, "dns": [], "egressPorts": [5432, 11434], "ingressFrom": [{"namespaceSelector": {}}]}` unless it
    /// says otherwise.
    #[arg(long, env = "NETWORK_POLICY", default_value = "{}")]
    network_policy: NetworkPolicyOptions,
    /// Where /livez, /readyz and /metrics are served.
    #[arg(long, env = "ADDRESS", default_value = "0.0.0.0:8080")]
    address: SocketAddr,
    /// Bots that are looked at side by side.
    #[arg(long, env = "CONCURRENCY", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    concurrency: u16,
    /// Namespaces whose bots are looked after, with commas between them. Without it: all.
    #[arg(long, env = "WATCH_NAMESPACES", value_name = "NAMESPACE", value_delimiter = ',')]
    watch_namespaces: Vec<String>,
    /// Share the work with other operators: all watch, and the one that holds a Lease writes.
    #[arg(long, env = "LEADER_ELECTION")]
    leader_election: bool,
    /// Namespace of that Lease [default: this pod's, or the kubeconfig's]
    #[arg(long, env = "LEADER_ELECTION_NAMESPACE", value_name = "NAMESPACE")]
    leader_election_namespace: Option<String>,
    /// Its name.
    #[arg(long, env = "LEASE_NAME", default_value = "tradingbot-operator")]
    lease_name: String,
    /// How many seconds a dead leader keeps the others from writing.
    #[arg(long, env = "LEASE_DURATION", default_value_t = 4, value_parser = clap::value_parser!(u16).range(2..=300))]
    lease_duration: u16,
    /// This process's name among them: its pod's.
    #[arg(long, env = "HOSTNAME", default_value = "tradingbot-operator")]
    name: String,
    /// Least severe log lines shown: error, warn, info, debug or trace.
    #[arg(long, env = "LOG_LEVEL", default_value = "info")]
    log_level: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Cli { command: Command::Run(arguments) } = Cli::parse();
    logging::start(&arguments.log_level)?;
    let election = arguments.leader_election.then_some(Candidacy {
        namespace: arguments.leader_election_namespace,
        lease: arguments.lease_name,
        terms: Terms::new(arguments.lease_duration),
    });
    run(Options {
        installation: Installation {
            agent_image: arguments.agent_image,
            agent_image_pull_secrets: arguments.agent_image_pull_secret.into(),
            network_policy: Arc::new(arguments.network_policy),
        },
        address: arguments.address,
        concurrency: arguments.concurrency,
        scope: Scope::of(&arguments.watch_namespaces),
        name: arguments.name,
        election,
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use serde_yaml::Value;

    #[test]
    fn the_documents_tell_of_every_flag_and_the_chart_sets_what_they_say_it_sets() {
        let page = include_str!("../../docs/operation.md");
        let (_, section) = page.split_once("\n## Flags\n").unwrap();
        let section = section.split("\n## ").next().unwrap();
        let told: Vec<&str> = section.lines().filter(|line| line.starts_with("| `")).collect();
        let mut command = Cli::command();
        command.build();
        let flags = command.find_subcommand("run").unwrap().get_arguments();
        let flags = flags.filter(|flag| !matches!(flag.get_id().as_str(), "help" | "version"));
        let rows: Vec<String> = flags
            .map(|flag| {
                let (long, env) = (flag.get_long().unwrap(), flag.get_env().unwrap().to_str().unwrap());
                let default = match flag.get_default_values() {
                    [default] => format!("`{}`", default.to_str().unwrap()),
                    _ if flag.is_required_set() => "must be given".to_owned(),
                    _ => String::new(),
                };
                format!("| `--{long}` | `{env}` | {default} | ")
            })
            .collect();
        assert_eq!(told.len(), rows.len(), "one row for each flag:\n{}", rows.join("\n"));
        let values: Value =
            serde_yaml::from_str(include_str!("../../charts/tradingbot-operator/values.yaml")).unwrap();
        let deployment = include_str!("../../charts/tradingbot-operator/templates/deployment.yaml");
        for (row, told) in rows.iter().zip(told) {
            let chart = told.strip_prefix(row.as_str()).unwrap_or_else(|| panic!("docs/operation.md: {row}"));
            let env = row.split('`').nth(3).unwrap();
            let is_set = deployment.contains(&format!("- name: {env}\n"));
            assert_eq!(is_set, chart != "|", "whether the chart sets {env}");
            // Of what the chart sets, some comes from a value.
            for path in chart.split('`').skip(1).step_by(2) {
                let value = path.split('.').try_fold(&values, |value, key| value.get(key));
                assert!(value.is_some(), "values.yaml has no {path}");
            }
        }
    }
}

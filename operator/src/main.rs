//! `tradingbot-operator`: see `tradingbot-operator run --help`.

use std::net::SocketAddr;
use std::sync::Arc;

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

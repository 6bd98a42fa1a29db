//! `tradingbot-operator`: see `tradingbot-operator run --help`.

use std::net::SocketAddr;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand};
use operator::controller::{Installation, NetworkPolicyOptions};
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
    /// Least severe log lines shown: error, warn, info, debug or trace.
    #[arg(long, env = "LOG_LEVEL", default_value = "info")]
    log_level: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Cli {
        command: Command::Run(RunArgs { agent_image, network_policy, address, concurrency, log_level }),
    } = Cli::parse();
    logging::start(&log_level)?;
    let installation = Installation { agent_image, network_policy: Arc::new(network_policy) };
    run(Options { installation, address, concurrency }).await
}

//! What kubelet, agents and controllers do with a bot's children, for clusters that have none of them.
//!
//! For each bot whose Deployment wants a pod the faker takes the Lease and renews it, writes the agent's share
//! of the status with the hash that the ConfigMap says, and marks the Deployment available, in this order, as a
//! real agent does. When a bot is gone its children are removed by their owner references. Everything is
//! called under a user of its own ([`USER`]), so that nobody takes its calls for the operator's.

mod calls;
mod garbage;
mod state;
mod watches;

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use kube::Client;
use kube::config::Kubeconfig;
use tokio::sync::oneshot;

pub use state::Hand;
use state::{Key, Shared};

use crate::account;

/// The account's name; [`account::user`] is how the API server calls it.
pub const USER: &str = "faker";

/// How bots are played.
#[derive(Clone, Debug)]
pub struct Options {
    /// Time between the renewals of one Lease. None: a Lease is taken once, for a day.
    pub renew_every: Option<Duration>,
    /// Time from a Deployment's creation to the agent's first sign.
    pub start_after: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { renew_every: Some(Duration::from_secs(10)), start_after: Duration::ZERO }
    }
}

/// Plays the part of everything between Deployment and agent until it is dropped.
pub struct Faker {
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Faker {
    /// Starts with an administrator's kubeconfig, in a thread of its own.
    pub fn start(kubeconfig: &Path, options: Options) -> Self {
        let kubeconfig = Kubeconfig::read_from(kubeconfig).expect("a kubeconfig");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let client = runtime.block_on(client(&kubeconfig)).expect("an account for the faker");
        let (shared, queues) = Shared::new(client, options);
        let (stop, stopped) = oneshot::channel();
        let playing = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = play(playing, queues) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { shared, stop: Some(stop), thread: Some(thread) }
    }

    /// Changes what a bot's agent and pod do, from now on.
    pub fn direct(&self, namespace: &str, bot: &str, change: impl FnOnce(&mut Hand)) {
        let key = Key::new(namespace, bot);
        self.shared.change(&key, |bot| change(&mut bot.hand));
    }
}

impl Drop for Faker {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            stop.send(()).ok();
        }
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

async fn client(kubeconfig: &Kubeconfig) -> anyhow::Result<Client> {
    let own = account::administrator(kubeconfig, USER).await?;
    account::client(&own, Some("tradingbot-faker")).await
}

async fn play(shared: Arc<Shared>, queues: state::Queues) {
    let workers = queues.into_iter().map(|mut queue| {
        let shared = &shared;
        async move {
            while let Some(key) = queue.recv().await {
                shared.begin(&key);
                calls::look(shared, &key).await;
            }
        }
    });
    tokio::join!(
        futures::future::join_all(workers),
        watches::bots(Arc::clone(&shared)),
        watches::deployments(&shared),
        watches::config_maps(&shared),
        watches::leases(&shared),
        renew(&shared),
    );
}

/// Asks for another look at each bot whose next renewal is due.
async fn renew(shared: &Shared) {
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    loop {
        tick.tick().await;
        shared.look_at_due();
    }
}

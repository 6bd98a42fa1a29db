//! Whether the market may go on: always here, in a cluster while the lease is held.

use crds::contract::lease::ENTRY_WINDOW;
use tokio::sync::watch;

use crate::clock::BootTime;
use crate::cluster::lease::Window;

/// What the lease says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holding {
    /// Not held, or not known to be.
    Waiting,
    /// Held; the last successful renewal was sent then.
    Held {
        /// When, on the clock of leases.
        sent: BootTime,
    },
    /// Taken by someone else after it was held.
    Lost {
        /// By whom.
        holder: String,
    },
}

impl Holding {
    /// Whether it is held as far as can be known at `now`: the last renewal may have been long ago.
    pub fn is_current(&self, now: BootTime) -> bool {
        matches!(self, Self::Held { sent } if now.since(*sent) < ENTRY_WINDOW)
    }
}

/// Whether the market may go on.
#[derive(Debug)]
pub enum Gate {
    /// Always: the journal's lock alone keeps others away.
    Local,
    /// While the lease is held.
    Lease {
        /// What the task that renews it says.
        holding: watch::Receiver<Holding>,
        /// Until when entries may leave.
        window: Window,
    },
}

impl Gate {
    /// Whether the market may go on now; to be asked at least once a second.
    pub fn is_open(&mut self) -> bool {
        match self {
            Self::Local => true,
            Self::Lease { holding, window } => {
                let sent = match &*holding.borrow_and_update() {
                    Holding::Held { sent } => Some(*sent),
                    Holding::Waiting | Holding::Lost { .. } => None,
                };
                window.is_open(sent, BootTime::now())
            }
        }
    }

    /// Who took the lease, once it is lost for good.
    pub fn lost_to(&self) -> Option<String> {
        match self {
            Self::Local => None,
            Self::Lease { holding, .. } => match &*holding.borrow() {
                Holding::Lost { holder } => Some(holder.clone()),
                Holding::Waiting | Holding::Held { .. } => None,
            },
        }
    }

    /// Waits until the lease says something else.
    pub async fn changed(&mut self) {
        match self {
            Self::Local => std::future::pending().await,
            Self::Lease { holding, .. } => {
                if holding.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        }
    }
}

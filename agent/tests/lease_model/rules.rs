//! What the code goes by, as values.

use agent::cluster::lease::Timing;

/// The rules of one run. The default is what the code, the operator and the venue do.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The times.
    pub timing: Timing,
    /// The clock of leases goes on while the machine is suspended (`CLOCK_BOOTTIME`).
    pub clock_counts_suspension: bool,
    /// An order is checked right before it is sent, and not only when it is decided.
    pub checked_before_send: bool,
    /// Exits tell the venue when they are void, as entries do.
    pub exits_expire: bool,
    /// Who takes over cancels what works at the venue.
    pub cancels_working_orders: bool,
    /// Whoever is asked to end releases the Lease, whatever is in flight.
    pub releases_in_flight: bool,
    /// A process that held the Lease and finds it nobody's ends, and does not take it again.
    pub notices_loss: bool,
    /// The operator makes a Lease that was deleted as held by `unknown`.
    pub recreated_as_unknown: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            timing: Timing::default(),
            clock_counts_suspension: true,
            checked_before_send: true,
            exits_expire: true,
            cancels_working_orders: true,
            releases_in_flight: false,
            notices_loss: true,
            recreated_as_unknown: true,
        }
    }
}

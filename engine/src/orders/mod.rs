//! How an order lives at a venue that answers by message: later, twice, out of order, or not at all.
//!
//! The engine says what it wants in [`Command`]s and hears what became of it in [`VenueReport`]s. What
//! is in between can lose, repeat, delay and reorder both, so that nothing here counts messages: an
//! order is `Tracked` by what is known of it, and a `Desk` compares,
//! after every event, what is wanted of an asset's orders with what is known of them.
//!
//! - A fill counts once, by the venue's id of it, whenever it comes, whatever the order's state.
//! - An order that ended stays ended. What is unknown is asked about until the venue has said it.
//! - Orders that close never add up to more than what is held: what may still be filled counts as sold.
//! - Client ids are pure functions of durable state ([`Id::order`](crate::Id::order)), so that an order
//!   that is sent twice, by whomever, is one order at a venue that keeps client ids apart.

mod desk;
mod message;
mod reading;
mod tracked;
mod work;

use jiff::SignedDuration;

pub(crate) use desk::Desk;
pub use message::{Command, Instruction, Intent, News, Reading, Report, Standing, VenueFill, VenueReport};
pub(crate) use reading::Remote;

/// How long an entry may live: what arrives at the venue later is not taken.
pub const ENTRY_LIFETIME: SignedDuration = SignedDuration::from_secs(10);
/// The longest that a message may be on its way, and clocks apart, before "never seen" is believed. That
/// no message takes longer is an assumption; entries do not need it where the venue knows their expiry.
pub const LONGEST_WAY: SignedDuration = SignedDuration::from_secs(5);
/// An order of which no word has come for so long is asked about.
const SILENCE: SignedDuration = SignedDuration::from_secs(5);
/// Time between two questions about the same order.
const ASK_EVERY: SignedDuration = SignedDuration::from_secs(2);
/// So many ids are asked about that a dead process may have used next, of each kind.
const PROBED_AHEAD: u32 = 3;
/// Time between two tries to cancel the same order.
const CANCEL_EVERY: SignedDuration = SignedDuration::from_secs(5);
/// Pause after the venue refused an order that closes, before the other way out is tried.
const REFUSAL_PAUSE: SignedDuration = SignedDuration::from_secs(1);
/// A resting stop that the price is beyond for so long without a fill is given up for a market order.
const BREACH_LIMIT: SignedDuration = SignedDuration::from_secs(5);
/// A resting stop is moved when the better one is closer by this part of the ATR.
const STOP_STEP_ATR: f64 = 0.25;
/// How far from the decision's price an entry may be filled, as a fraction: 20 basis points.
const ENTRY_REACH: f64 = 0.002;

//! Bugs that are planted to see whether the campaign finds them.

/// What the process under test does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// Commands leave before what led to them is durable.
    SendsBeforeTheSync,
    /// Nobody asks what became of an order, not even after a restart.
    ForgetsToResolve,
    /// The same fill counts as often as it is reported.
    CountsFillsTwice,
    /// A time-out counts as a refusal.
    TakesUnknownForRejected,
    /// Of a cancelled order, nothing more is heard.
    LosesFillsAfterTheEnd,
    /// An order counts as cancelled once that was asked for.
    BelievesCancellations,
    /// What is sent again is sent under another id.
    SendsAgainUnderAnotherId,
    /// Positions stay without a stop.
    ForgetsTheStop,
    /// Stops rest where no price ever comes.
    PutsTheStopFarAway,
    /// Entries leave whoever holds the lease.
    TradesWithoutTheLease,
    /// Entries leave however old the decision is.
    SendsEntriesHoweverLate,
}

impl Bug {
    pub const ALL: [Self; 11] = [
        Self::SendsBeforeTheSync,
        Self::ForgetsToResolve,
        Self::CountsFillsTwice,
        Self::TakesUnknownForRejected,
        Self::LosesFillsAfterTheEnd,
        Self::BelievesCancellations,
        Self::SendsAgainUnderAnotherId,
        Self::ForgetsTheStop,
        Self::PutsTheStopFarAway,
        Self::TradesWithoutTheLease,
        Self::SendsEntriesHoweverLate,
    ];

    /// The rule by which it is found.
    pub const fn breaks(self) -> &'static str {
        match self {
            Self::SendsBeforeTheSync => "an entry left before it was durable",
            Self::ForgetsToResolve => "an intent was forgotten",
            Self::CountsFillsTwice | Self::LosesFillsAfterTheEnd => "the ledger is not the venue's",
            Self::TakesUnknownForRejected | Self::BelievesCancellations => "exits exceed the position",
            Self::SendsAgainUnderAnotherId => "the venue saw an order that nobody intended",
            Self::ForgetsTheStop | Self::PutsTheStopFarAway => "a position was too long without a stop",
            Self::TradesWithoutTheLease => "an entry left without the lease",
            Self::SendsEntriesHoweverLate => "an entry left after its time",
        }
    }
}

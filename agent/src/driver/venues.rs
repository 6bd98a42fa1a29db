//! The driver's side of venues that answer by message: what leaves, and what comes back.

use engine::orders::{Command, VenueReport};
use engine::{Event, EventKind};
use tracing::error;

use super::{Driver, DriverError};
use crate::venue::{Released, Venues};

/// Waits for what a venue says; for ever where there is none.
pub(super) async fn next_report(venues: &mut Option<Venues>) -> VenueReport {
    let report = match venues {
        Some(venues) => venues.reports.recv().await,
        None => None,
    };
    match report {
        Some(report) => report,
        None => std::future::pending().await,
    }
}

impl Driver {
    /// Gives the bot its venues that answer by message. Before it runs.
    #[must_use]
    pub fn with_venues(mut self, venues: Venues) -> Self {
        self.venues = Some(venues);
        self
    }

    /// Has everything that was on its way asked about, before anything is sent.
    pub(super) fn take_over(&mut self) {
        if let Some(venues) = &self.venues {
            let at = (venues.clock)();
            self.handle(Event { at, kind: EventKind::Takeover });
        }
    }

    /// A market that is live does not stand still with the gate: what opens must know of it.
    pub(super) async fn tell_of_lease(&mut self, held: bool) -> Result<(), DriverError> {
        let Some(venues) = &self.venues else { return Ok(()) };
        let at = (venues.clock)();
        self.handle(Event { at, kind: EventKind::Lease { held } });
        self.commit().await
    }

    /// A second has passed: orders of which nothing was heard are asked about.
    pub(super) async fn pass_time(&mut self) -> Result<(), DriverError> {
        let Some(venues) = &self.venues else { return Ok(()) };
        let at = (venues.clock)();
        self.handle(Event { at, kind: EventKind::Timer });
        self.commit().await
    }

    /// Takes what a venue says.
    pub(super) async fn report(&mut self, report: VenueReport) -> Result<(), DriverError> {
        let Some(venues) = &self.venues else { return Ok(()) };
        let at = (venues.clock)();
        self.handle(Event { at, kind: EventKind::Venue(report) });
        self.commit().await
    }

    /// Everything handled is durable: what waited for that leaves, looked at once more.
    pub(super) fn release(&mut self) {
        let Some(venues) = &self.venues else { return };
        let at = (venues.clock)();
        let Released { send, withheld } = self.outbox.durable(self.ports.gate.is_open(), at);
        self.send(send);
        for report in withheld {
            self.handle(Event { at, kind: EventKind::Venue(report) });
        }
    }

    /// The journal takes nothing: whatever closes or asks leaves all the same.
    pub(super) fn send_without_journal(&mut self) {
        let commands = self.outbox.failing();
        self.send(commands);
    }

    pub(super) fn send(&mut self, commands: Vec<Command>) {
        for command in commands {
            let senders = self.venues.as_mut().map(|venues| &mut venues.senders);
            match senders.and_then(|senders| senders.get_mut(command.venue())) {
                Some(venue) => venue.send(&command),
                None => error!(
                    venue = command.venue(),
                    "a venue that answers by message has no line; this is a bug"
                ),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};

    use engine::orders::{Instruction, Intent, News, Reading, Report, VenueFill};
    use engine::{Output, Role};
    use jiff::Timestamp;
    use rust_decimal::Decimal;
    use sqlx::ConnectOptions;
    use sqlx::sqlite::SqliteConnectOptions;
    use tokio::sync::{mpsc, watch};
    use tokio_util::sync::CancellationToken;

    use super::super::tests::driver;
    use super::*;
    use crate::feed::replay::Delivery;
    use crate::fixtures::{Site, steps};
    use crate::gate::Gate;
    use crate::journal::FILE;
    use crate::venue::Venue;
    use crate::view::View;

    /// Takes everything at the decision's price, and remembers how much was durable when it was asked.
    #[derive(Debug)]
    struct Willing {
        view: watch::Receiver<Option<Arc<View>>>,
        reports: mpsc::Sender<VenueReport>,
        heard: Arc<Mutex<Vec<(Command, i64)>>>,
        position: Decimal,
    }

    impl Venue for Willing {
        fn send(&mut self, command: &Command) {
            let durable = self.view.borrow().as_ref().map_or(0, |view| view.events);
            self.heard.lock().unwrap().push((command.clone(), durable));
            let report = match command {
                Command::Submit(Intent { id, instruction: Instruction::Stop { .. }, .. }) => {
                    Report::Order { id: id.clone(), news: News::Accepted }
                }
                Command::Submit(intent) => {
                    self.position += intent.quantity;
                    let (id, price) = (intent.id.to_string(), Decimal::from(9_000));
                    let fill = VenueFill { id, quantity: intent.quantity, price, fee: Decimal::ZERO };
                    Report::Order { id: intent.id.clone(), news: News::Fill(fill) }
                }
                Command::Reconcile { asked, .. } => {
                    let positions = [("BTC-USD".parse().unwrap(), self.position)].into();
                    Report::Account(Reading { asked: *asked, positions, open_orders: vec![] })
                }
                _ => return,
            };
            self.reports.try_send(VenueReport { venue: "paper".into(), report }).unwrap();
        }
    }

    #[tokio::test]
    async fn an_entry_is_sent_when_it_is_durable_and_its_stop_follows_its_fill() {
        let site = Site::sqlite();
        let (mut driver, mut view, _) = driver(&site.place, Gate::Local).await;
        driver.engine = driver.engine.with_answers_by_message("paper");
        let (sender, reports) = mpsc::channel(16);
        let heard = Arc::new(Mutex::new(Vec::new()));
        let willing =
            Willing { view: view.clone(), reports: sender, heard: heard.clone(), position: Decimal::ZERO };
        let clock = view.clone();
        let driver = driver.with_venues(Venues {
            senders: BTreeMap::from([("paper".to_owned(), Box::new(willing) as Box<dyn Venue>)]),
            reports,
            clock: Box::new(move || {
                let time = clock.borrow().as_ref().and_then(|view| view.market_time);
                time.unwrap_or(Timestamp::UNIX_EPOCH)
            }),
        });
        let (feed, deliveries) = mpsc::channel(1);
        let (_none, configurations) = mpsc::channel(1);
        let stop = CancellationToken::new();
        let running = tokio::spawn(driver.run(deliveries, configurations, stop.clone()));
        let mut bars = steps();
        while view.borrow().as_ref().is_none_or(|view| view.positions.is_empty()) {
            let step = bars.next_step().unwrap().expect("a trade comes before the end");
            let at = step.events.last().unwrap().at;
            feed.send(Delivery::Step(step)).await.unwrap();
            // A live market waits for nobody, this one for the journal.
            view.wait_for(|view| view.as_ref().is_some_and(|view| view.market_time >= Some(at)))
                .await
                .unwrap();
            tokio::task::yield_now().await;
        }
        stop.cancel();
        running.await.unwrap().unwrap();
        let options = SqliteConnectOptions::new().filename(site.folder.path().join(FILE));
        let mut journal = options.connect().await.unwrap();
        let rows: Vec<(i64, String)> = sqlx::query_as("SELECT seq, body FROM outputs WHERE kind = 'command'")
            .fetch_all(&mut journal)
            .await
            .unwrap();
        let heard = heard.lock().unwrap();
        let submitted: Vec<_> = heard
            .iter()
            .filter_map(|(command, durable)| match command {
                Command::Submit(intent) => Some((intent.role, intent.id.clone(), *durable)),
                _ => None,
            })
            .collect();
        assert_eq!(
            submitted.iter().map(|(role, ..)| *role).collect::<Vec<_>>(),
            [Role::Entry, Role::Protect]
        );
        for (_, id, durable) in submitted {
            let intended = rows.iter().find_map(|(seq, body)| match serde_json::from_str(body).unwrap() {
                Output::Command(Command::Submit(intent)) if intent.id == id => Some(*seq),
                _ => None,
            });
            assert!(intended.is_some_and(|seq| seq <= durable), "{intended:?} of {durable}");
        }
    }
}

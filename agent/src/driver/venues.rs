//! The driver's side of venues that answer by message: what leaves, and what comes back.

use engine::orders::{Command, VenueReport};
use engine::{Event, EventKind};
use jiff::Timestamp;
use tracing::error;

use super::{BATCH_EVENTS, Driver, DriverError};
use crate::venue::{Released, Venues};

/// Waits for what a venue says, for ever where there is no venue. None when nothing will be said any more.
pub(super) async fn next_report(venues: &mut Option<Venues>) -> Option<VenueReport> {
    match venues {
        Some(venues) => venues.reports.recv().await,
        None => std::future::pending().await,
    }
}

/// Hands commands over, each to its venue.
pub(super) fn deliver(venues: &mut Option<Venues>, commands: Vec<Command>) {
    for command in commands {
        let senders = venues.as_mut().map(|venues| &mut venues.senders);
        match senders.and_then(|senders| senders.get_mut(command.venue())) {
            Some(venue) => venue.send(&command),
            None => {
                error!(venue = command.venue(), "a venue that answers by message has no line; this is a bug")
            }
        }
    }
}

impl Driver {
    /// Gives the bot its venues that answer by message. Before it runs.
    #[must_use]
    pub fn with_venues(mut self, mut venues: Venues) -> Self {
        venues.go_on_from(self.engine.market_time());
        self.venues = Some(venues);
        self
    }

    /// Whether the market goes on whoever holds the lease: once this process has taken over.
    pub(super) const fn is_live(&self) -> bool {
        self.venues.is_some() && self.lease_told
    }

    /// Market time at the venues, where there are any.
    fn venue_time(&mut self) -> Option<Timestamp> {
        self.venues.as_mut().map(Venues::now)
    }

    /// Has everything that was on its way asked about, before anything is sent.
    pub(super) fn take_over(&mut self) {
        if let Some(at) = self.venue_time() {
            self.handle(Event { at, kind: EventKind::Takeover });
        }
    }

    /// A market that is live does not stand still with the gate: what opens must know of it.
    pub(super) async fn tell_of_lease(&mut self, held: bool) -> Result<(), DriverError> {
        let Some(at) = self.venue_time() else { return Ok(()) };
        self.handle(Event { at, kind: EventKind::Lease { held } });
        self.commit().await
    }

    /// A second has passed: orders of which nothing was heard are asked about. Whoever has not taken over says
    /// nothing to a venue: another process may be about to.
    pub(super) async fn pass_time(&mut self) -> Result<(), DriverError> {
        if !self.lease_told {
            return Ok(());
        }
        let Some(at) = self.venue_time() else { return Ok(()) };
        self.handle(Event { at, kind: EventKind::Timer });
        self.commit().await
    }

    /// Takes what a venue says, and what it has said since, and commits it at once.
    pub(super) async fn report(&mut self, first: VenueReport) -> Result<(), DriverError> {
        let mut next = Some(first);
        while let Some(report) = next {
            let Some(at) = self.venue_time() else { return Ok(()) };
            self.handle(Event { at, kind: EventKind::Venue(report) });
            let more = self.venues.as_mut().filter(|_| self.pending.len() < BATCH_EVENTS);
            next = more.and_then(|venues| venues.reports.try_recv().ok());
        }
        self.commit().await
    }

    /// Everything handled is durable: what waited for that leaves, looked at once more.
    pub(super) fn release(&mut self) {
        let Some(at) = self.venue_time() else { return };
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
        deliver(&mut self.venues, commands);
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
    use sqlx::sqlite::SqliteConnectOptions;
    use sqlx::{ConnectOptions, Connection, Executor};
    use tokio::sync::{mpsc, watch};
    use tokio_util::sync::CancellationToken;

    use super::super::tests::driver;
    use super::*;
    use crate::clock::BootTime;
    use crate::cluster::lease::Window;
    use crate::feed::replay::Delivery;
    use crate::fixtures::{Site, steps};
    use crate::gate::{Gate, Holding};
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

    /// One venue; market time is that of the last commit.
    fn venues(
        venue: impl Venue + 'static,
        reports: mpsc::Receiver<VenueReport>,
        view: &watch::Receiver<Option<Arc<View>>>,
    ) -> Venues {
        let clock = view.clone();
        let now = move || {
            let time = clock.borrow().as_ref().and_then(|view| view.market_time);
            time.unwrap_or(Timestamp::UNIX_EPOCH)
        };
        let senders = BTreeMap::from([("paper".to_owned(), Box::new(venue) as Box<dyn Venue>)]);
        Venues::new(senders, reports, Box::new(now))
    }

    /// Says nothing, and remembers what it was told and how much was durable then.
    #[derive(Debug)]
    struct Silent {
        view: watch::Receiver<Option<Arc<View>>>,
        heard: mpsc::UnboundedSender<(Command, i64)>,
    }

    impl Venue for Silent {
        fn send(&mut self, command: &Command) {
            let durable = self.view.borrow().as_ref().map_or(0, |view| view.events);
            self.heard.send((command.clone(), durable)).unwrap();
        }
    }

    /// A bot at a venue that says what the test says.
    struct Bot {
        site: Site,
        view: watch::Receiver<Option<Arc<View>>>,
        reports: mpsc::Sender<VenueReport>,
        heard: mpsc::UnboundedReceiver<(Command, i64)>,
        feed: mpsc::Sender<Delivery>,
        bars: crate::feed::Steps,
        stop: CancellationToken,
        running: tokio::task::JoinHandle<Result<super::super::Ended, DriverError>>,
        _configurations: mpsc::Sender<super::super::Configure>,
    }

    impl Bot {
        async fn start(site: Site, gate: Gate) -> Self {
            Self::start_with(site, gate, |_| ()).await
        }

        /// One that was recovered with what is done to its engine here.
        async fn start_with(site: Site, gate: Gate, recovered: impl FnOnce(&mut engine::Engine)) -> Self {
            let (mut driver, view, _) = driver(&site.place, gate).await;
            driver.engine = driver.engine.with_answers_by_message("paper");
            recovered(&mut driver.engine);
            let (reports, said) = mpsc::channel(16);
            let (told, heard) = mpsc::unbounded_channel();
            let driver = driver.with_venues(venues(Silent { view: view.clone(), heard: told }, said, &view));
            let (feed, deliveries) = mpsc::channel(1);
            let (_configurations, none) = mpsc::channel(1);
            let stop = CancellationToken::new();
            let running = tokio::spawn(driver.run(deliveries, none, stop.clone()));
            Self { site, view, reports, heard, feed, bars: steps(), stop, running, _configurations }
        }

        /// The next order that the venue is sent; bars go on until then.
        async fn order(&mut self) -> (Intent, i64) {
            loop {
                tokio::select! {
                    biased;
                    heard = self.heard.recv() => match heard.unwrap() {
                        (Command::Submit(intent), durable) => return (intent, durable),
                        // Nothing opens before the account was read; it is flat.
                        (Command::Reconcile { asked, .. }, _) => {
                            let (positions, open_orders) = (BTreeMap::new(), vec![]);
                            let report = Report::Account(Reading { asked, positions, open_orders });
                            self.reports.send(VenueReport { venue: "paper".into(), report }).await.unwrap();
                        }
                        _ => {}
                    },
                    permit = self.feed.reserve() => {
                        let step = self.bars.next_step().unwrap().unwrap();
                        let at = step.events.last().unwrap().at;
                        permit.unwrap().send(Delivery::Step(step));
                        // A live market waits for nobody, this one for the journal.
                        let handled = |view: &Option<Arc<View>>| {
                            view.as_ref().is_some_and(|view| view.market_time >= Some(at))
                        };
                        self.view.wait_for(handled).await.unwrap();
                    }
                }
            }
        }

        async fn say(&self, id: &engine::Id, news: News) {
            let report = Report::Order { id: id.clone(), news };
            self.reports.send(VenueReport { venue: "paper".into(), report }).await.unwrap();
        }

        async fn fill(&self, intent: &Intent) {
            let (id, price) = (intent.id.to_string(), Decimal::from(9_000));
            let fill = VenueFill { id, quantity: intent.quantity, price, fee: Decimal::ZERO };
            self.say(&intent.id, News::Fill(fill)).await;
        }

        /// Up to a position whose stop rests.
        async fn protect(&mut self) -> Intent {
            let (entry, _) = self.order().await;
            self.fill(&entry).await;
            let (stop, _) = self.heard_order().await;
            self.say(&stop.id, News::Accepted).await;
            stop
        }

        /// The next order that the venue is sent without any bar.
        async fn heard_order(&mut self) -> (Intent, i64) {
            loop {
                if let (Command::Submit(intent), durable) = self.heard.recv().await.unwrap() {
                    return (intent, durable);
                }
            }
        }

        /// A price far below any stop, some seconds of market time later.
        async fn fall(&self, seconds: i64) {
            let now = self.view.borrow().as_ref().unwrap().market_time.unwrap();
            let at = now + jiff::SignedDuration::from_secs(seconds);
            let asset = "BTC-USD".parse().unwrap();
            let (bid, ask) = (1_000.0, 1_001.0);
            let kind = EventKind::Quote { asset, bid, ask, low_bid: bid, high_ask: ask };
            let step = crate::feed::Step { at, events: vec![Event { at, kind }], warmup: false };
            self.feed.send(Delivery::Step(step)).await.unwrap();
        }

        async fn cancelled(&mut self, stop: &Intent) {
            while !matches!(self.heard.recv().await.unwrap(), (Command::Cancel { id, .. }, _) if id == stop.id)
            {
            }
        }

        async fn end(self) -> Result<super::super::Ended, DriverError> {
            self.stop.cancel();
            self.running.await.unwrap()
        }
    }

    fn leased() -> (watch::Sender<Holding>, Gate) {
        let (lease, holding) = watch::channel(Holding::Waiting);
        (lease, Gate::Lease { holding, window: Window::default() })
    }

    /// An engine with a position at a venue that answers by message, and its stop, which rests.
    fn with_position(engine: &mut engine::Engine) -> Intent {
        let mut outputs = Vec::new();
        let mut bars = steps();
        let submitted = |outputs: &mut Vec<Output>| {
            outputs.drain(..).find_map(|output| match output {
                Output::Command(Command::Submit(intent)) => Some(intent),
                _ => None,
            })
        };
        let at = Timestamp::UNIX_EPOCH;
        engine.handle(&Event { at, kind: EventKind::Lease { held: true } }, &mut outputs);
        let entry = loop {
            for event in bars.next_step().unwrap().unwrap().events {
                engine.handle(&event, &mut outputs);
            }
            if let Some(entry) = submitted(&mut outputs) {
                break entry;
            }
        };
        let (id, price) = ("entry".to_owned(), Decimal::from(9_000));
        let fill = VenueFill { id, quantity: entry.quantity, price, fee: Decimal::ZERO };
        let report = Report::Order { id: entry.id, news: News::Fill(fill) };
        let report = VenueReport { venue: "paper".into(), report };
        engine.handle(&Event { at: entry.at, kind: EventKind::Venue(report) }, &mut outputs);
        submitted(&mut outputs).unwrap()
    }

    #[tokio::test]
    async fn who_waits_for_the_lease_says_nothing_to_a_venue() {
        let (lease, gate) = leased();
        let mut stop = None;
        let mut bot =
            Bot::start_with(Site::sqlite(), gate, |engine| stop = Some(with_position(engine))).await;
        let stop = stop.unwrap();
        // The venue tells whoever is connected; here it would lead to a question about the fill, and to an exit.
        bot.say(&stop.id, News::Cancelled { filled: stop.quantity / Decimal::TWO }).await;
        tokio::time::sleep(std::time::Duration::from_millis(2_500)).await;
        assert!(bot.heard.try_recv().is_err(), "another process may hold the Lease");
        lease.send_replace(Holding::Held { sent: BootTime::now() });
        let (first, _) = bot.heard.recv().await.unwrap();
        assert!(matches!(first, Command::Resolve { .. } | Command::Reconcile { .. }), "{first:?}");
        bot.end().await.unwrap();
    }

    #[tokio::test]
    async fn a_position_is_watched_whatever_becomes_of_the_lease() {
        let (lease, gate) = leased();
        let lease = Arc::new(lease);
        let renewed = lease.clone();
        let renewing = tokio::spawn(async move {
            loop {
                renewed.send_replace(Holding::Held { sent: BootTime::now() });
                tokio::time::sleep(std::time::Duration::from_millis(500)).await;
            }
        });
        let mut bot = Bot::start(Site::sqlite(), gate).await;
        let stop = bot.protect().await;
        renewing.abort();
        lease.send_replace(Holding::Waiting);
        bot.view.wait_for(|view| view.as_ref().is_some_and(|view| !view.lease_held)).await.unwrap();
        bot.fall(1).await;
        bot.fall(7).await;
        bot.cancelled(&stop).await;
        bot.end().await.unwrap();
    }

    #[tokio::test]
    async fn a_position_is_watched_and_closed_while_the_journal_takes_nothing() {
        let mut bot = Bot::start(Site::postgres(), Gate::Local).await;
        let stop = bot.protect().await;
        bot.site.server.as_mut().unwrap().stop(lab::postgres::Stop::Crash).unwrap();
        bot.fall(1).await;
        let trouble = |view: &Option<Arc<View>>| view.as_ref().and_then(|view| view.journal.trouble.clone());
        bot.view.wait_for(|view| trouble(view).is_some()).await.unwrap();
        bot.fall(7).await;
        bot.cancelled(&stop).await;
        bot.say(&stop.id, News::Cancelled { filled: Decimal::ZERO }).await;
        let (exit, _) = bot.heard_order().await;
        assert_eq!((exit.role, exit.quantity), (Role::Exit, stop.quantity));
        bot.site.server.as_mut().unwrap().start_again().unwrap();
        bot.view.wait_for(|view| trouble(view).is_none()).await.unwrap();
        bot.end().await.unwrap();
    }

    #[tokio::test]
    async fn what_closes_leaves_while_a_write_hangs() {
        let mut bot = Bot::start(Site::postgres(), Gate::Local).await;
        let (entry, _) = bot.order().await;
        let url = bot.site.server.as_ref().unwrap().url();
        let mut server = sqlx::PgConnection::connect(&url).await.unwrap();
        server.execute("BEGIN; LOCK TABLE events").await.unwrap();
        // What was committed before that is told by now.
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        let durable = bot.view.borrow().as_ref().unwrap().events;
        bot.fill(&entry).await;
        let (stop, known) = bot.heard_order().await;
        assert_eq!((stop.role, known), (Role::Protect, durable), "the fill is not durable yet");
        // A write that hangs is given up, so that what happens meanwhile is acted on.
        bot.say(&stop.id, News::Accepted).await;
        let trouble = |view: &Option<Arc<View>>| view.as_ref().and_then(|view| view.journal.trouble.clone());
        bot.view.wait_for(|view| trouble(view).as_deref() == Some("JournalSlow")).await.unwrap();
        bot.fall(1).await;
        bot.fall(7).await;
        bot.cancelled(&stop).await;
        assert_eq!(bot.view.borrow().as_ref().unwrap().events, durable);
        server.execute("COMMIT").await.unwrap();
        bot.view.wait_for(|view| view.as_ref().is_some_and(|view| view.events > durable)).await.unwrap();
        bot.view.wait_for(|view| trouble(view).is_none()).await.unwrap();
        bot.end().await.unwrap();
    }

    #[tokio::test]
    async fn a_bot_whose_venues_are_gone_ends() {
        let bot = Bot::start(Site::sqlite(), Gate::Local).await;
        let Bot { reports, running, _configurations, feed, .. } = bot;
        drop(reports);
        let error = running.await.unwrap().unwrap_err().to_string();
        assert!(error.starts_with("VenuesLost"), "{error}");
        drop(feed);
    }

    #[tokio::test]
    async fn what_was_said_together_is_committed_together() {
        let mut bot = Bot::start(Site::sqlite(), Gate::Local).await;
        let stop = bot.protect().await;
        let commits = |view: &Option<Arc<View>>| view.as_ref().unwrap().events;
        let before = commits(&bot.view.borrow_and_update());
        // The test's thread is the bot's: nothing is handled until this one waits.
        for _ in 0..10 {
            let report = Report::Order { id: stop.id.clone(), news: News::Accepted };
            bot.reports.try_send(VenueReport { venue: "paper".into(), report }).unwrap();
        }
        bot.view.wait_for(|view| commits(view) > before).await.unwrap();
        assert!(commits(&bot.view.borrow()) >= before + 10, "one by one, each with a sync of its own");
        bot.end().await.unwrap();
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
        let driver = driver.with_venues(venues(willing, reports, &view));
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

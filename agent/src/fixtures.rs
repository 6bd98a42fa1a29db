//! What several tests need: a bot, and the bars of the examples.

use std::path::Path;

use sqlx::{Connection, Executor};

use crds::config::{BotConfig, OnEnd};
use engine::{BotId, Engine, Event, Output};
use jiff::Timestamp;

use crate::feed::files::Found;
use crate::feed::{FeedHealth, Steps};
use crate::journal::{Entry, Place};
use crate::secret::Secret;
use crate::view::{Surroundings, View};

pub fn identity() -> BotId {
    BotId { namespace: "default".into(), name: "majors".into() }
}

pub fn config() -> BotConfig {
    let spec = serde_json::json!({
        "assets": [{"pair": "BTC-USD"}],
        "feeds": [{"name": "bars", "replay": {"warmup": 1500, "data": [
            {"pair": "BTC-USD", "timeframe": "1h", "configMaps": [{"name": "btc", "key": "h1.csv"}]}
        ]}}]
    });
    crds::config::resolve(&spec).unwrap().bot
}

/// The first half of 2020.
pub fn steps() -> Steps {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/data/BTC-USD_1h_2020-H1.csv.gz");
    let found = Found::from_arguments(&[data.display().to_string()]).unwrap();
    let sources = found.sources(&[("BTC-USD".parse().unwrap(), None)]).unwrap();
    Steps::open(sources.into_iter().map(|source| (source, 1500)).collect(), OnEnd::Hold).unwrap()
}

pub fn surroundings() -> Surroundings {
    Surroundings {
        bot: identity(),
        started_at: Timestamp::UNIX_EPOCH,
        config_hash: config().hash().unwrap(),
        generation: None,
        feed: FeedHealth::Starting,
        lease_held: true,
        closed_trades: 0,
        fills: 0,
        refused_config: None,
    }
}

pub fn view(engine: &Engine) -> View {
    View::of(engine, &surroundings(), 0)
}

pub fn handled(engine: &mut Engine, event: Event) -> Entry {
    let mut outputs: Vec<Output> = Vec::new();
    engine.handle(&event, &mut outputs);
    Entry { event, outputs }
}

/// A place for a journal that is there as long as this value.
pub struct Site {
    pub place: Place,
    pub folder: tempfile::TempDir,
    pub server: Option<lab::postgres::Postgres>,
}

impl Site {
    pub fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { place: folder.path().into(), folder, server: None }
    }

    pub fn postgres() -> Self {
        let server = lab::postgres::Postgres::start().unwrap();
        let place = Place::from_secret(&Secret::new(&server.url())).unwrap();
        Self { place, folder: tempfile::tempdir().unwrap(), server: Some(server) }
    }

    /// What holds for one store has to hold for the other.
    pub fn each() -> impl Iterator<Item = Self> {
        [Self::sqlite, Self::postgres].into_iter().map(|make| make())
    }

    /// Does to the database what nobody should.
    pub async fn tamper(&self, statement: &'static str) {
        sqlx::any::install_default_drivers();
        let url = match &self.server {
            Some(server) => server.url(),
            None => format!("sqlite:{}", self.folder.path().join(crate::journal::FILE).display()),
        };
        let mut connection = sqlx::AnyConnection::connect(&url).await.unwrap();
        connection.execute(statement).await.unwrap();
        connection.close().await.unwrap();
    }
}

//! Where a question about a bot is answered: its journal, or a running agent.

use std::path::PathBuf;

use anyhow::{Context, anyhow};
use clap::Args;
use engine::{BotId, Decision};
use reqwest::StatusCode;
use serde::de::DeserializeOwned;

use super::named::Named;
use super::{Failure, InputError, default_journal, local};
use crate::journal::{self, JournalError, Reader};
use crate::secret::Secret;
use crate::view::View;

/// Variable that holds the API key.
const KEY_VARIABLE: &str = "TRADINGBOT_API_KEY";

/// Where to ask.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Place {
    /// Manifest of a bot that runs here; its journal is ./NAME.journal
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Folder of a journal, or postgres://USER@HOST/DATABASE with the password in PGPASSWORD or ~/.pgpass
    #[arg(long, value_name = "PLACE")]
    journal: Option<journal::Place>,
    /// File with the address of a journal's PostgreSQL database, password and all
    #[arg(long, value_name = "FILE")]
    journal_url: Option<PathBuf>,
    /// Address of a running agent, such as http://127.0.0.1:8000
    #[arg(long, value_parser = url)]
    url: Option<String>,
}

/// Where to ask, and the key to show there.
#[derive(Debug, Args)]
pub struct Source {
    #[command(flatten)]
    place: Place,
    /// File with the API key, for --url [default: the variable TRADINGBOT_API_KEY]
    #[arg(long, value_name = "FILE", requires = "url")]
    key_file: Option<PathBuf>,
}

fn url(text: &str) -> Result<String, String> {
    let is_url = reqwest::Url::parse(text).is_ok_and(|url| ["http", "https"].contains(&url.scheme()));
    if is_url { Ok(text.to_owned()) } else { Err("write it whole, such as http://127.0.0.1:8000".to_owned()) }
}

/// The place, looked up.
pub enum Asked {
    /// A journal.
    Journal(journal::Place),
    /// A running agent.
    Agent(Remote),
}

/// A running agent.
pub struct Remote {
    url: String,
    key: Option<Secret>,
}

impl Source {
    /// Looks the place up.
    pub fn asked(&self) -> Result<Asked, Failure> {
        if let Some(url) = &self.place.url {
            let key = match &self.key_file {
                Some(file) => {
                    let text = std::fs::read_to_string(file)
                        .with_context(|| {
                            format!(
                                "the API key cannot be read from {}; name its file with --key-file, or leave that out and set {KEY_VARIABLE}",
                                file.display()
                            )
                        })
                        .input()?;
                    Some(Secret::new(&text))
                }
                None => std::env::var(KEY_VARIABLE).ok().map(|text| Secret::new(&text)),
            };
            return Ok(Asked::Agent(Remote { url: url.trim_end_matches('/').to_owned(), key }));
        }
        let Place { journal, journal_url, .. } = &self.place;
        let named = Named { journal: journal.clone(), journal_url: journal_url.clone() };
        if let Some(place) = named.place()? {
            return Ok(Asked::Journal(place));
        }
        let file = self.place.file.clone().unwrap_or_default();
        Ok(Asked::Journal(default_journal(&local::read_manifest(&file)?.name)))
    }
}

/// Opens a journal for reading.
pub async fn reader(place: &journal::Place) -> Result<Reader, Failure> {
    Reader::open(place).await.map_err(|error| match error {
        JournalError::Missing { .. } => Failure::Input(error.into()),
        _ => error.into(),
    })
}

/// An id of a decision, or its beginning.
pub fn decision_id(text: &str) -> Result<String, String> {
    let id = text.to_ascii_lowercase();
    if (4..=36).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-') {
        return Ok(id);
    }
    Err("write an id as `decisions` lists it, such as 2e9a558c-e459-418e-1590-dfc515f0d48c, \
         or at least its first four characters"
        .to_owned())
}

impl Asked {
    /// The one decision whose id begins so, and whose it is.
    pub async fn decision(&self, id: &str) -> Result<(BotId, Decision), Failure> {
        let (view, mut found, place) = match self {
            Self::Agent(agent) => {
                let view: View = agent.get("status").await?;
                let found: Vec<Decision> = agent.get(&format!("decisions?id={id}&limit=2")).await?;
                (Some(view), found, agent.url.clone())
            }
            Self::Journal(place) => {
                let mut reader = reader(place).await?;
                let view = reader.view().await;
                let found = reader.decisions_of(id, 2).await;
                reader.close().await;
                (view?, found?, place.to_string())
            }
        };
        match (view, found.pop(), found.pop()) {
            (Some(view), Some(decision), None) => Ok((view.bot, decision)),
            (_, Some(one), Some(other)) => Err(Failure::Input(anyhow!(
                "several decisions in {place} begin with {id}, such as {other} and {one}; write more of the id",
                other = other.id,
                one = one.id
            ))),
            _ => Err(Failure::Input(anyhow!(
                "there is no decision {id} in {place}; `decisions` lists those that there are"
            ))),
        }
    }
}

impl Remote {
    /// Asks for a resource of the bot.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let url = format!("{}/api/v1/bot/{path}", self.url);
        let mut request = reqwest::Client::new().get(&url).timeout(std::time::Duration::from_secs(10));
        if let Some(key) = &self.key {
            request = request.bearer_auth(key.expose());
        }
        let response = request
            .send()
            .await
            .with_context(|| format!("{url} does not answer; start the agent, or correct --url"))?;
        match response.status() {
            StatusCode::OK => {
                Ok(response.json().await.with_context(|| format!("{url} answers something else"))?)
            }
            StatusCode::UNAUTHORIZED => {
                let told =
                    if self.key.is_some() { "refuses the key given" } else { "wants a key of the bot" };
                Err(Failure::Input(anyhow!(
                    "{url} {told}; give the right one with --key-file FILE or the variable {KEY_VARIABLE}"
                )))
            }
            status => {
                let text = response.text().await.unwrap_or_default();
                let text: String = text.chars().take(200).collect();
                Err(Failure::Fatal(anyhow!("{url} answers {status}: {text}")))
            }
        }
    }
}

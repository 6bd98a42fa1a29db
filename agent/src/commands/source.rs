//! Where a question about a bot is answered: its journal, or a running agent.

use std::path::PathBuf;

use anyhow::{Context, anyhow};
use clap::Args;
use reqwest::StatusCode;
use serde::de::DeserializeOwned;

use super::named::Named;
use super::{Failure, InputError, default_journal, local};
use crate::journal;
use crate::secret::Secret;

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
    #[arg(long)]
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
                        .with_context(|| format!("the key in {} cannot be read", file.display()))
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

impl Remote {
    /// Asks for a resource of the bot.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let url = format!("{}/api/v1/bot/{path}", self.url);
        let mut request = reqwest::Client::new().get(&url).timeout(std::time::Duration::from_secs(10));
        if let Some(key) = &self.key {
            request = request.bearer_auth(key.expose());
        }
        let response = request.send().await.with_context(|| format!("{url} does not answer"))?;
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

//! The sources of keys: the issuer's discovery document, a URL, or a file.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use http::Uri;
use jsonwebtoken::Algorithm;
use serde::Deserialize;

use crate::fetch::{Client, MAX_BODY, Reach, parse_url};
use crate::keys::KeySet;
use crate::settings::Settings;

pub(crate) struct Source {
    place: Place,
    client: Client,
    accepted: Vec<Algorithm>,
    allow_http_loopback: bool,
}

enum Place {
    File(PathBuf),
    Url(Uri),
    /// The discovery document of the issuer.
    Issuer {
        issuer: String,
        document: Uri,
    },
}

impl Source {
    /// # Errors
    /// If a URL in the settings is invalid.
    pub(crate) fn new(settings: &Settings) -> anyhow::Result<Self> {
        let parse = |url: &str| {
            parse_url(url, settings.allow_http_loopback).map_err(|wrong| anyhow::anyhow!(wrong))
        };
        let place = if let Some(file) = &settings.jwks_file {
            Place::File(file.into())
        } else if let Some(url) = &settings.jwks_url {
            Place::Url(parse(url)?)
        } else {
            Place::Issuer {
                issuer: settings.issuer.clone(),
                document: parse(&settings.discovery_url())?,
            }
        };
        Ok(Self {
            place,
            client: Client::new(*settings.fetch_timeout)?,
            accepted: settings.accepted().collect(),
            allow_http_loopback: settings.allow_http_loopback,
        })
    }

    /// Reads the current keys.
    pub(crate) async fn load(&self) -> anyhow::Result<KeySet> {
        let json = match &self.place {
            Place::File(path) => {
                let file = path.clone();
                let read = tokio::task::spawn_blocking(move || read_file(&file)).await?;
                read.with_context(|| format!("cannot read {}", path.display()))?
            }
            Place::Url(url) => self.client.get(url, Reach::Any).await?.into(),
            Place::Issuer { issuer, document } => {
                let (url, reach) = self.discover(issuer, document).await?;
                self.client.get(&url, reach).await?.into()
            }
        };
        KeySet::parse(&json, &self.accepted)
    }

    /// The URL of the keys, from [OpenID Connect
    /// Discovery](https://openid.net/specs/openid-connect-discovery-1_0.html#ProviderConfig).
    async fn discover(&self, issuer: &str, document: &Uri) -> anyhow::Result<(Uri, Reach)> {
        #[derive(Deserialize)]
        struct Metadata {
            issuer: String,
            jwks_uri: String,
        }
        let json = self.client.get(document, Reach::Any).await?;
        let metadata: Metadata = serde_json::from_slice(&json)
            .with_context(|| format!("{document} is not a discovery document"))?;
        ensure!(
            metadata.issuer == issuer,
            "{document} has the issuer {:?}, and the settings have {issuer:?}",
            metadata.issuer
        );
        let url = parse_url(&metadata.jwks_uri, self.allow_http_loopback)
            .map_err(|wrong| anyhow::anyhow!("`jwks_uri` in {document}: {wrong}"))?;
        let reach = match url.host() == document.host() {
            true => Reach::Any,
            false => Reach::Public,
        };
        Ok((url, reach))
    }
}

fn read_file(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut json = Vec::new();
    let file = File::open(path)?;
    file.take(MAX_BODY as u64 + 1).read_to_end(&mut json)?;
    ensure!(json.len() <= MAX_BODY, "it has more than {MAX_BODY} bytes");
    Ok(json)
}

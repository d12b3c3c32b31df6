//! A store that a service adds itself: NATS, whose protocol is simple enough that its client fits below. With
//! async-nats in its place the store reads the same. docs/stores.md explains it.

use std::process::ExitCode;

use anyhow::bail;
use axum::extract::{Path, State};
use axum::{Router, routing::post};
use axum_chassis::schemars::{self, JsonSchema};
use axum_chassis::settings::{Duration, Secret, Validate, ValidationErrors};
use axum_chassis::{Chassis, Problem, Service, health};
use serde::{Deserialize, Serialize};

use self::client::{Client, Gone};

// --- the store: begin
/// A section such as `[nats]`, to embed in a service's own settings.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Settings {
    /// The NATS URL: `nats://HOST:PORT`. Required.
    pub url: Secret,
    /// Response timeout: 503 after it.
    pub timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        let (url, timeout) = (Secret::default(), Duration::from_secs(2));
        Self { url, timeout }
    }
}

impl Validate for Settings {
    fn validate(&self, errors: &mut ValidationErrors) {
        if !self.url.expose().starts_with("nats://") {
            errors.add("url", "unknown URL scheme: expected nats://HOST:PORT");
        }
    }
}

/// Connects once NATS answers, and registers it with the chassis.
pub async fn nats<S>(chassis: &Chassis<S>, name: &str, from: &Settings) -> anyhow::Result<Client> {
    let Some(address) = from.url.expose().strip_prefix("nats://") else {
        bail!("{name}.url: expected nats://HOST:PORT");
    };
    let client = Client::new(address, *from.timeout);
    chassis
        .wait_for(name, async || Ok(client.ping().await?))
        .await?;

    let counted = client.clone();
    let help = "Messages that NATS has accepted.";
    chassis
        .metrics()
        .counter_fn("nats_published_total", help, &[("pool", name)], move || {
            counted.published() as f64
        })?;
    chassis.on_error(|error| {
        let _: &Gone = error.downcast_ref()?;
        let pause = std::time::Duration::from_secs(5);
        Some(Problem::unavailable("NATS is not available").retry_after(pause))
    });
    let closing = client.clone();
    chassis.on_stop(name, async move || Ok(closing.close().await?));
    chassis.readiness().check(name, Check(client.clone()));
    Ok(client)
}

struct Check(Client);

impl health::Check for Check {
    async fn check(&self) -> anyhow::Result<()> {
        Ok(self.0.ping().await?)
    }
}
// --- the store: end

#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Publisher {
    nats: Settings,
}

impl Validate for Publisher {
    fn validate(&self, errors: &mut ValidationErrors) {
        errors.within("nats", &self.nats);
    }
}

fn main() -> ExitCode {
    Service::<Publisher>::new("publisher", "1.0.0").run(async |chassis| {
        let client = nats(&chassis, "nats", &chassis.settings().nats).await?;
        Ok(Router::new()
            .route("/{subject}", post(publish))
            .with_state(client))
    })
}

async fn publish(
    State(nats): State<Client>,
    Path(subject): Path<String>,
    message: String,
) -> Result<(), Problem> {
    if !subject.chars().all(char::is_alphanumeric) {
        return Err(Problem::bad_request("a subject is letters and digits here"));
    }
    Ok(nats.publish(&subject, &message).await?)
}

/// As much of a client as this needs: one connection, opened anew when it is broken.
mod client {
    use std::fmt;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufStream};
    use tokio::net::TcpStream;
    use tokio::sync::Mutex;

    /// NATS cannot be had, or did not answer in time.
    #[derive(Debug)]
    pub struct Gone(Option<std::io::Error>);

    impl fmt::Display for Gone {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            match &self.0 {
                Some(error) => write!(f, "NATS: {error}"),
                None => f.write_str("NATS: no answer in time"),
            }
        }
    }

    impl std::error::Error for Gone {}

    #[derive(Clone)]
    pub struct Client(Arc<Inner>);

    struct Inner {
        address: String,
        timeout: Duration,
        published: AtomicU64,
        connection: Mutex<Option<BufStream<TcpStream>>>,
    }

    impl Client {
        pub fn new(address: &str, timeout: Duration) -> Self {
            Self(Arc::new(Inner {
                address: address.to_owned(),
                timeout,
                published: AtomicU64::new(0),
                connection: Mutex::new(None),
            }))
        }

        pub fn published(&self) -> u64 {
            self.0.published.load(Ordering::Relaxed)
        }

        pub async fn ping(&self) -> Result<(), Gone> {
            self.send("").await
        }

        pub async fn publish(&self, subject: &str, message: &str) -> Result<(), Gone> {
            let command = format!("PUB {subject} {}\r\n{message}\r\n", message.len());
            self.send(&command).await?;
            self.0.published.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }

        pub async fn close(&self) -> Result<(), Gone> {
            // Sends buffered messages.
            self.ping().await?;
            self.0.connection.lock().await.take();
            Ok(())
        }

        /// Returns once NATS has answered a PING behind the command, and so has taken it.
        async fn send(&self, command: &str) -> Result<(), Gone> {
            let sent = async {
                let mut kept = self.0.connection.lock().await;
                // Taken out, so that one that is left half-way is not used again.
                let mut connection = match kept.take() {
                    Some(connection) => connection,
                    None => {
                        let stream = TcpStream::connect(&self.0.address).await?;
                        let mut connection = BufStream::new(stream);
                        connection
                            .write_all(b"CONNECT {\"verbose\":false}\r\n")
                            .await?;
                        connection
                    }
                };
                connection.write_all(command.as_bytes()).await?;
                connection.write_all(b"PING\r\n").await?;
                connection.flush().await?;
                let mut line = String::new();
                while line != "PONG\r\n" {
                    line.clear();
                    if connection.read_line(&mut line).await? == 0 {
                        return Err(std::io::ErrorKind::ConnectionReset.into());
                    }
                    if line == "PING\r\n" {
                        connection.write_all(b"PONG\r\n").await?;
                    }
                }
                *kept = Some(connection);
                Ok(())
            };
            match tokio::time::timeout(self.0.timeout, sent).await {
                Ok(sent) => sent.map_err(|error: std::io::Error| Gone(Some(error))),
                Err(_) => Err(Gone(None)),
            }
        }
    }
}

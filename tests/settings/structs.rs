//! The settings that the tests load: the chassis's keys, and a service with something of each kind.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use axum_chassis::schemars::{self, JsonSchema};
use axum_chassis::settings::{
    Duration, Invalid, Loaded, Problems, Secret, Size, Sources, Validate, load,
};
use serde::{Deserialize, Serialize};

pub type Settings = Loaded<Chassis, Service>;

pub fn load_from(sources: &Sources) -> Result<Settings, Invalid> {
    load::<Chassis, Service>(sources)
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Chassis {
    pub server: Server,
    pub admin: Admin,
    pub logs: Logs,
    pub limits: Limits,
}

impl Validate for Chassis {
    fn validate(&self, problems: &mut Problems) {
        if self.server.port == self.admin.port && self.server.port != 0 {
            problems.add("admin.port", "must differ from server.port");
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Server {
    /// The address that is bound.
    pub host: std::net::IpAddr,
    /// The port of the service's routes; 0 for any that is free.
    pub port: u16,
    /// How long a connection may stay idle.
    pub idle_timeout: Duration,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            host: [0, 0, 0, 0].into(),
            port: 8080,
            idle_timeout: Duration::from_secs(75),
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Admin {
    pub port: u16,
    /// Whoever bears it may write.
    pub token: Option<Secret>,
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            port: 9090,
            token: None,
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Logs {
    pub filter: String,
    pub format: Format,
    pub access: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    Auto,
    Json,
    /// For people.
    Text,
}

impl Default for Logs {
    fn default() -> Self {
        Self {
            filter: "info".into(),
            format: Format::Auto,
            access: true,
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Limits {
    pub body: Size,
    pub request_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: Size::from_mib(2),
            request_timeout: Duration::from_secs(30),
        }
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Service {
    pub database: Database,
    pub orders: Orders,
    pub v2_api: V2Api,
}

impl Validate for Service {
    fn validate(&self, problems: &mut Problems) {
        if self.orders.max < self.orders.min {
            problems.add("orders.max", "must be at least orders.min");
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Database {
    pub url: Secret,
    #[schemars(range(min = 1, max = 100))]
    pub pool: u32,
    /// Waits this long for a connection, if at all.
    pub patience: Option<Duration>,
}

impl Default for Database {
    fn default() -> Self {
        Self {
            url: "postgres://localhost/orders".into(),
            pool: 10,
            patience: None,
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Orders {
    pub min: i64,
    pub max: i64,
    pub share: f64,
    pub tags: Vec<String>,
    pub weights: Vec<u8>,
    pub labels: BTreeMap<String, String>,
    pub peers: Vec<SocketAddr>,
    pub note: Option<String>,
    pub tiers: Vec<Tier>,
    #[serde(rename = "retry-after")]
    pub retry_after: Duration,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Tier {
    pub name: String,
    #[serde(default)]
    pub price: u32,
}

impl Default for Orders {
    fn default() -> Self {
        Self {
            min: 1,
            max: 10,
            share: 0.5,
            tags: vec!["new".into()],
            weights: Vec::new(),
            labels: BTreeMap::new(),
            peers: Vec::new(),
            note: None,
            tiers: Vec::new(),
            retry_after: Duration::from_secs(1),
        }
    }
}

/// Digits and underscores in names.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct V2Api {
    pub max_2xx_age: u32,
}

impl Default for V2Api {
    fn default() -> Self {
        Self { max_2xx_age: 60 }
    }
}

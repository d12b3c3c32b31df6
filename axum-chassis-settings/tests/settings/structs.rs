//! The settings that the tests load: the chassis's keys, and a service with something of each kind.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use axum_chassis_settings::schemars::{self, JsonSchema};
use axum_chassis_settings::{
    Duration, Invalid, Loaded, Secret, Size, Sources, Validate, ValidationErrors, load,
};
use serde::{Deserialize, Serialize};

pub(crate) type Settings = Loaded<Chassis, Service>;

pub(crate) fn load_from(sources: &Sources) -> Result<Settings, Invalid> {
    load::<Chassis, Service>(sources)
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct Chassis {
    pub(crate) server: Server,
    pub(crate) admin: Admin,
    pub(crate) logs: Logs,
    pub(crate) limits: Limits,
}

impl Validate for Chassis {
    fn validate(&self, errors: &mut ValidationErrors) {
        if self.server.port == self.admin.port && self.server.port != 0 {
            errors.add("admin.port", "must differ from server.port");
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct Server {
    /// The address that is bound.
    pub(crate) host: std::net::IpAddr,
    /// The port of the service's routes; 0 for any that is free.
    pub(crate) port: u16,
    /// Timeout of an idle connection.
    pub(crate) idle_timeout: Duration,
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
pub(crate) struct Admin {
    pub(crate) port: u16,
    /// The token for changes.
    pub(crate) token: Option<Secret>,
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
pub(crate) struct Logs {
    pub(crate) filter: String,
    pub(crate) format: Format,
    pub(crate) access: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
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
pub(crate) struct Limits {
    pub(crate) body: Size,
    pub(crate) request_timeout: Duration,
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
pub(crate) struct Service {
    pub(crate) database: Database,
    pub(crate) orders: Orders,
    pub(crate) v2_api: V2Api,
}

impl Validate for Service {
    fn validate(&self, errors: &mut ValidationErrors) {
        if self.orders.max < self.orders.min {
            errors.add("orders.max", "must be at least orders.min");
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct Database {
    pub(crate) url: Secret,
    #[schemars(range(min = 1, max = 100))]
    pub(crate) pool: u32,
    /// Waits this long for a connection, if at all.
    pub(crate) patience: Option<Duration>,
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
pub(crate) struct Orders {
    pub(crate) min: i64,
    pub(crate) max: i64,
    pub(crate) share: f64,
    pub(crate) tags: Vec<String>,
    pub(crate) weights: Vec<u8>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) peers: Vec<SocketAddr>,
    pub(crate) note: Option<String>,
    pub(crate) tiers: Vec<Tier>,
    #[serde(rename = "retry-after")]
    pub(crate) retry_after: Duration,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Tier {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) price: u32,
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
pub(crate) struct V2Api {
    pub(crate) max_2xx_age: u32,
}

impl Default for V2Api {
    fn default() -> Self {
        Self { max_2xx_age: 60 }
    }
}

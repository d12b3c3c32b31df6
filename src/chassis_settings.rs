//! Composes the settings: the chassis's sections and the service's own settings.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::admin;
use crate::error::Error;
use crate::health;
use crate::limits;
use crate::logs;
use crate::platform::PlatformKind;
use crate::server;
use crate::settings::{
    self, Defaults, Duration, Loaded, SettingsSchema, Sources, Validate, ValidationErrors,
};
use crate::shutdown;

/// `[service]`: how the service runs as a whole.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[non_exhaustive]
pub struct ServiceSettings {
    /// Timeout of the service's own start.
    pub start_timeout: Duration,
    /// The number of worker threads. 0 uses the CPU quota of the container, or else the number of processors.
    pub threads: usize,
    /// The platform of the service: `container`, `terminal`, `host`, or `auto` to detect it. It decides the default of
    /// `shutdown.delay`, and whether changes need `admin.token` (in a container). Set it to check the settings for
    /// another platform.
    pub platform: PlatformKind,
}

impl Default for ServiceSettings {
    fn default() -> Self {
        Self {
            start_timeout: Duration::from_secs(60),
            threads: 0,
            platform: PlatformKind::Auto,
        }
    }
}

/// The chassis's own sections of the settings. A service's own stand beside them.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[allow(missing_docs)] // each section's type has the documentation
#[non_exhaustive]
pub struct ChassisSettings {
    pub server: server::Settings,
    pub admin: admin::Settings,
    pub health: health::Settings,
    pub logs: logs::Settings,
    pub limits: limits::Settings,
    pub shutdown: shutdown::Settings,
    pub service: ServiceSettings,
}

impl Validate for ChassisSettings {
    fn complete(&mut self, defaults: &mut Defaults) {
        if self.service.platform == PlatformKind::Auto {
            let (detected, reason) = PlatformKind::detect();
            self.service.platform = detected;
            defaults.add("service.platform", reason);
        }
        let platform = self.service.platform;
        self.admin.in_container = platform == PlatformKind::Container;
        if self.shutdown.delay.is_none() {
            let delay = match platform {
                // In a terminal, a person who has pressed Ctrl-C is waiting, and no proxy has to notice the shutdown.
                PlatformKind::Terminal => Duration::from_secs(0),
                _ => self.shutdown.delay().into(),
            };
            self.shutdown.delay = Some(delay);
            defaults.add("shutdown.delay", format!("service.platform is {platform}"));
        }
    }

    fn validate(&self, errors: &mut ValidationErrors) {
        self.server.validate(errors);
        self.admin.validate(errors);
        self.health.validate(errors);
        self.logs.validate(errors);
        self.limits.validate(errors);
        self.shutdown.validate(errors);
        let has_port = self.server.unix_socket.is_none() && self.server.port != 0;
        if has_port && self.server.port == self.admin.port {
            errors.add("admin.port", "must differ from server.port");
        }
        if self.service.start_timeout.is_zero() {
            errors.add("service.start_timeout", "must be longer than 0s");
        }
    }
}

impl ChassisSettings {
    /// Completes and validates settings that were created in code. For settings from files and variables, loading does
    /// this.
    pub(crate) fn checked(mut self) -> Result<Self, Error> {
        self.complete(&mut Defaults::default());
        let mut errors = ValidationErrors::default();
        self.validate(&mut errors);
        match errors.is_empty() {
            true => Ok(self),
            false => Err(Error::Settings(errors.into())),
        }
    }
}

/// The loaded settings of a service: the chassis's sections and the service's own.
pub type LoadedSettings<S> = Loaded<ChassisSettings, S>;

/// Loads the settings of a service.
pub(crate) fn load<S: SettingsSchema>(sources: &Sources) -> Result<LoadedSettings<S>, Error> {
    let loaded = settings::load::<ChassisSettings, S>(sources)
        .map_err(|wrong| Error::Settings(wrong.into()))?;
    match known_token(&loaded, sources) {
        None => Ok(loaded),
        Some(wrong) => Err(Error::Settings(wrong.into())),
    }
}

/// The error for the template's development token, which is public, outside of the environment `dev`.
fn known_token<S>(loaded: &LoadedSettings<S>, sources: &Sources) -> Option<String> {
    let token = loaded.framework.admin.token.as_ref()?;
    let is_known = token.expose().trim() == "for-development-only";
    if !is_known || sources.run_env() == "dev" {
        return None;
    }
    let origin = loaded.effective.origin("admin.token").unwrap_or_default();
    Some(format!(
        "admin.token: public development token of the template, expected a token of your own, \
         for example from `openssl rand -hex 32` ({origin})"
    ))
}

//! The reasons for defaults that depend on other keys or on the machine.

use crate::Validate;

/// The keys that [`Validate::complete`] fills in, each with the reason for its value.
#[derive(Debug, Default)]
pub struct Defaults(pub(crate) Vec<(String, String)>);

impl Defaults {
    /// Adds the reason for the value of a key. For example, the key is `"pool.size"` and the reason `"two for each processor"`. In a debug build, a
    /// key that the settings do not have causes a warning.
    pub fn add(&mut self, key: impl Into<String>, reason: impl Into<String>) {
        self.0.push((key.into(), reason.into()));
    }

    /// Completes a nested section. Its own keys are relative: `size` becomes `pool.size` within `pool`.
    ///
    /// ```
    /// use axum_chassis_settings::{Defaults, Validate};
    ///
    /// #[derive(Default)]
    /// struct Pool {
    ///     size: Option<u32>,
    /// }
    ///
    /// impl Validate for Pool {
    ///     fn complete(&mut self, defaults: &mut Defaults) {
    ///         if self.size.is_none() {
    ///             self.size = Some(4);
    ///             defaults.add("size", "four for each replica");
    ///         }
    ///     }
    /// }
    ///
    /// #[derive(Default)]
    /// struct Settings {
    ///     pool: Pool,
    /// }
    ///
    /// impl Validate for Settings {
    ///     fn complete(&mut self, defaults: &mut Defaults) {
    ///         defaults.within("pool", &mut self.pool);
    ///     }
    /// }
    ///
    /// let mut settings = Settings::default();
    /// settings.complete(&mut Defaults::default());
    /// assert_eq!(settings.pool.size, Some(4));
    /// ```
    pub fn within(&mut self, key: &str, section: &mut impl Validate) {
        let mut found = Self::default();
        section.complete(&mut found);
        let found = found.0.into_iter();
        self.0
            .extend(found.map(|(below, reason)| (format!("{key}.{below}"), reason)));
    }
}

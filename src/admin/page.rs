//! `/`: the admin page with its data, `/status`. Without the feature `admin-page`, `/` lists the routes of the admin port.

// Two files, of which one is compiled: `enabled` and `disabled` offer the same.

#[cfg(not(feature = "admin-page"))]
mod disabled;
#[cfg(feature = "admin-page")]
mod enabled;

#[cfg(not(feature = "admin-page"))]
pub(super) use self::disabled::{PageState, routes};
#[cfg(feature = "admin-page")]
pub(super) use self::enabled::{PageState, routes};

//! `/` as text: the name and version of the service, and the routes of the admin port.

use std::sync::Arc;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use http::HeaderMap;

use crate::admin::{self, Admin};
use crate::shared::Build;

/// Empty, because without the page there is no state to keep.
pub(crate) struct PageState;

impl PageState {
    pub(crate) fn new(_deadline: Duration) -> Self {
        Self
    }

    pub(crate) fn set_threads(&self, _reason: String) {}

    pub(crate) async fn sample(_admin: Arc<Admin>) {}
}

pub(crate) fn routes() -> [(&'static str, MethodRouter<Arc<Admin>>); 1] {
    [("/", admin::guarded(show))]
}

fn show(admin: &Admin, _: &HeaderMap) -> Response {
    let Build { name, version, .. } = &admin.shared.build;
    let mut text = format!("{name} {version}\n\n");
    for (path, _) in admin::routes() {
        text += path;
        text += "\n";
    }
    text.into_response()
}

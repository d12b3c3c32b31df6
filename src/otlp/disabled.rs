//! The export without the feature `otlp`: the same API, and no work.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use axum::extract::Request;
use tracing_subscriber::layer::Identity;

use super::Counts;
use crate::record::FinishedRequest;
use crate::trace::TraceContext;

/// The configuration without the feature: empty.
pub(crate) struct Config;

impl Config {
    pub(crate) fn from_environment() -> Result<Self, Infallible> {
        Ok(Self)
    }
}

/// An export that does not take place.
#[derive(Clone)]
pub(crate) struct Export;

impl Export {
    pub(crate) fn off() -> Self {
        Self
    }

    pub(crate) fn start(_: Config, _: &'static str, _: &'static str) -> io::Result<Self> {
        Ok(Self)
    }

    pub(crate) fn is_on(&self) -> bool {
        false
    }

    pub(crate) fn announce(&self) {}

    pub(crate) fn counts(&self) -> Counts {
        Counts::default()
    }

    pub(crate) fn layer(&self) -> Option<Identity> {
        None
    }

    pub(crate) async fn flush(&self, _: Duration) {}
}

/// A span that nobody wants.
pub(crate) struct Span;

impl Span {
    pub(crate) fn begin(_: &Export, _: &Request, _: &mut TraceContext) -> Self {
        Self
    }

    pub(crate) fn end(&mut self, _: &FinishedRequest<'_>) {}
}

//! Maps errors that handlers return with `?` to a status; 500 by default.

use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use axum::response::Response;
use http::StatusCode;

use super::{Problem, Rendered, log};
use crate::trace::Ids;

type Classify = dyn Fn(&(dyn Error + 'static)) -> Option<Problem> + Send + Sync;

/// The mappings of errors to responses. Cheap to clone; clones share their state.
#[derive(Clone, Default)]
pub(crate) struct ErrorMap(Arc<RwLock<Vec<Arc<Classify>>>>);

impl ErrorMap {
    pub(crate) fn add(
        &self,
        classify: impl Fn(&(dyn Error + 'static)) -> Option<Problem> + Send + Sync + 'static,
    ) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        all.push(Arc::new(classify));
    }

    /// The response that a problem of the service became, with the status that its error means.
    /// Headers that layers have added to the response stay.
    pub(crate) fn answer(&self, mut response: Response, ids: &Ids) -> Response {
        let unmapped = response.extensions_mut().get_mut::<Rendered>();
        let Some(unmapped) = unmapped.and_then(|rendered| rendered.0.take()) else {
            return response;
        };
        ids.enter(|| match self.of(&unmapped.error) {
            Some(problem) => {
                unmapped.log(problem.status());
                let (rendered, body) = problem.render(Some(&ids.request)).into_parts();
                let (mut parts, _) = response.into_parts();
                parts.status = rendered.status;
                parts.headers.remove(http::header::CONTENT_LENGTH);
                parts.headers.extend(rendered.headers);
                Response::from_parts(parts, body)
            }
            None => {
                unmapped.log(response.status());
                response
            }
        })
    }

    /// The outermost error of the chain that has a mapping decides.
    fn of(&self, error: &anyhow::Error) -> Option<Problem> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        // The panic hook has logged it, and the error counts as not mapped.
        let ask = |classify: &Arc<Classify>, error| {
            catch_unwind(AssertUnwindSafe(|| classify(error))).unwrap_or_default()
        };
        error.chain().find_map(|error| {
            // All mappings run, because a store also updates its connection state from its errors.
            let meant = all.iter().filter_map(|classify| ask(classify, error));
            meant.reduce(|first, _| first)
        })
    }
}

/// An error without a mapped status. If the response passes
/// no layer of ours, it is logged when it is dropped.
pub(crate) struct UnmappedError {
    error: anyhow::Error,
    logged: AtomicBool,
}

impl UnmappedError {
    pub(super) fn new(error: anyhow::Error) -> Self {
        Self {
            error,
            logged: AtomicBool::new(false),
        }
    }

    fn log(&self, status: StatusCode) {
        if !self.logged.swap(true, Ordering::Relaxed) {
            log(status, &self.error);
        }
    }
}

impl Drop for UnmappedError {
    fn drop(&mut self) {
        self.log(StatusCode::INTERNAL_SERVER_ERROR);
    }
}

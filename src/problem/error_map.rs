//! Maps errors that handlers return with `?` to a status; 500 by default.

use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use axum::response::Response;
use http::StatusCode;

use super::{Problem, Rendered, log};
use crate::error::Chain;
use crate::trace::Ids;

/// Returns a value for the errors that it applies to.
type Mapping<T> = Arc<dyn Fn(&(dyn Error + 'static)) -> Option<T> + Send + Sync>;
type Mappings<T> = RwLock<Vec<Mapping<T>>>;

/// The mappings of errors to responses, and to their text in the log. Cheap to clone; clones share their state.
#[derive(Clone, Default)]
pub(crate) struct ErrorMap(Arc<Tables>);

#[derive(Default)]
struct Tables {
    responses: Mappings<Problem>,
    texts: Mappings<String>,
}

impl ErrorMap {
    pub(crate) fn add(
        &self,
        classify: impl Fn(&(dyn Error + 'static)) -> Option<Problem> + Send + Sync + 'static,
    ) {
        let mut all = write(&self.0.responses);
        all.push(Arc::new(classify));
    }

    pub(crate) fn add_text(
        &self,
        describe: impl Fn(&(dyn Error + 'static)) -> Option<String> + Send + Sync + 'static,
    ) {
        let mut all = write(&self.0.texts);
        all.push(Arc::new(describe));
    }

    /// Replaces the response of an unmapped error with that of its mapped problem, and logs the error. Headers that layers
    /// have added to the response stay.
    pub(crate) fn answer(&self, mut response: Response, ids: &Ids) -> Response {
        let unmapped = response.extensions_mut().get_mut::<Rendered>();
        let Some(unmapped) = unmapped.and_then(|rendered| rendered.0.take()) else {
            return response;
        };
        ids.enter(|| match self.of(&unmapped.error) {
            Some(problem) => {
                unmapped.log(problem.status(), self.text(&unmapped.error));
                let (rendered, body) = problem.render(Some(&ids.request)).into_parts();
                let (mut parts, _) = response.into_parts();
                parts.status = rendered.status;
                parts.headers.remove(http::header::CONTENT_LENGTH);
                parts.headers.extend(rendered.headers);
                Response::from_parts(parts, body)
            }
            None => {
                unmapped.log(response.status(), self.text(&unmapped.error));
                response
            }
        })
    }

    /// The outermost error of the chain that has a mapping decides.
    fn of(&self, error: &anyhow::Error) -> Option<Problem> {
        let all = read(&self.0.responses);
        error.chain().find_map(|error| {
            // All mappings run, because a store also updates its connection state from its errors.
            let meant = all.iter().filter_map(|classify| apply(classify, error));
            meant.reduce(|first, _| first)
        })
    }

    fn text(&self, error: &anyhow::Error) -> String {
        let all = read(&self.0.texts);
        Chain(error.as_ref())
            .described(|error| all.iter().find_map(|describe| apply(describe, error)))
    }
}

// A mapping never runs while its table is locked for writing, so a panic leaves the table whole.

fn read<T>(table: &Mappings<T>) -> RwLockReadGuard<'_, Vec<Mapping<T>>> {
    table.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(table: &Mappings<T>) -> RwLockWriteGuard<'_, Vec<Mapping<T>>> {
    table.write().unwrap_or_else(PoisonError::into_inner)
}

/// `None` if the mapping panics: the panic hook has logged it.
fn apply<T>(mapping: &Mapping<T>, error: &(dyn Error + 'static)) -> Option<T> {
    catch_unwind(AssertUnwindSafe(|| mapping(error))).unwrap_or_default()
}

/// An error before a mapping has been applied to it. If its response does not pass a layer of the chassis, the error is
/// logged when it is dropped.
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

    fn log(&self, status: StatusCode, error: String) {
        if !self.logged.swap(true, Ordering::Relaxed) {
            log(status, &error);
        }
    }
}

impl Drop for UnmappedError {
    fn drop(&mut self) {
        let error = Chain(self.error.as_ref()).to_string();
        self.log(StatusCode::INTERNAL_SERVER_ERROR, error);
    }
}

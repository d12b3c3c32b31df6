//! A service that keeps notes in memory. It has settings of its own, routes with state, a readiness check, a metric and
//! a shutdown hook.
//!
//! ```sh
//! cargo run --example service
//! curl --json '{"text": "hello"}' localhost:8080/notes
//! curl localhost:8080/notes/1
//! curl localhost:9090/health/readiness
//! ```

use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use axum_chassis::health::Check;
use axum_chassis::metrics::Counter;
use axum_chassis::schemars::{self, JsonSchema};
use axum_chassis::settings::{Validate, ValidationErrors};
use axum_chassis::{Chassis, Problem, Service};
use http::StatusCode;
use serde::{Deserialize, Serialize};

fn main() -> ExitCode {
    Service::<Settings>::new("service", env!("CARGO_PKG_VERSION"))
        .revision(option_env!("REVISION"))
        .built_at(option_env!("CREATED"))
        .run(start)
}

/// The example's own settings, in addition to those of the chassis.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Settings {
    notes: NotesSettings,
}

/// The section `[notes]`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct NotesSettings {
    /// The maximum number of notes that are kept.
    capacity: usize,
}

impl Default for NotesSettings {
    fn default() -> Self {
        Self { capacity: 10_000 }
    }
}

impl Validate for Settings {
    fn validate(&self, errors: &mut ValidationErrors) {
        if self.notes.capacity == 0 {
            errors.add("notes.capacity", "must be at least 1");
        }
    }
}

/// Runs inside the tokio runtime. Meanwhile, liveness is 200 and readiness is 503.
async fn start(chassis: Chassis<Settings>) -> anyhow::Result<Router> {
    let notes = Notes {
        texts: Arc::default(),
        capacity: chassis.settings().notes.capacity,
        written: chassis
            .metrics()
            .counter("notes_written_total", "Notes written.")?,
    };
    chassis.readiness().inform("store", notes.clone());
    let store = notes.clone();
    chassis.on_stop("store", async move || {
        tracing::info!(notes = store.texts().len(), "forgetting the notes");
        Ok(())
    });
    Ok(Router::new()
        .route(
            "/",
            get(async || "Write a note: POST /notes {\"text\": \"...\"}\n"),
        )
        .route("/notes", post(write))
        .route("/notes/{id}", get(read))
        .with_state(notes))
}

#[derive(Clone)]
struct Notes {
    texts: Arc<Mutex<Vec<String>>>,
    capacity: usize,
    written: Counter,
}

impl Notes {
    fn texts(&self) -> MutexGuard<'_, Vec<String>> {
        self.texts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Check for Notes {
    async fn check(&self) -> anyhow::Result<()> {
        anyhow::ensure!(self.texts().len() < self.capacity, "the store is full");
        Ok(())
    }
}

#[derive(Deserialize)]
struct NewNote {
    text: String,
}

#[derive(Serialize)]
struct Note {
    id: usize,
    text: String,
}

async fn write(
    State(notes): State<Notes>,
    Json(NewNote { text }): Json<NewNote>,
) -> Result<(StatusCode, Json<Note>), Problem> {
    let mut texts = notes.texts();
    if texts.len() >= notes.capacity {
        return Err(Problem::new(StatusCode::INSUFFICIENT_STORAGE).detail("the store is full"));
    }
    texts.push(text.clone());
    let id = texts.len();
    drop(texts);
    notes.written.inc();
    tracing::info!(id, "note written");
    Ok((StatusCode::CREATED, Json(Note { id, text })))
}

async fn read(State(notes): State<Notes>, Path(id): Path<usize>) -> Result<Json<Note>, Problem> {
    let texts = notes.texts();
    let text = id.checked_sub(1).and_then(|index| texts.get(index));
    let text = text.ok_or_else(|| Problem::not_found(format!("there is no note {id}")))?;
    Ok(Json(Note {
        id,
        text: text.clone(),
    }))
}

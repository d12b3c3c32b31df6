//! `cargo chassis` and plain cargo-generate from outside: what they make, add, merge and refuse.

mod act;
mod add;
mod agents;
mod auth;
mod check;
mod common_changes;
mod deploy;
mod devcontainer;
mod doctor;
mod example;
mod generate;
mod generated_service;
mod new;
mod openapi;
mod place;
mod refusals;
mod release;
mod rendering;
mod reports;
mod stores;
mod tool;
mod update;
mod workflows;

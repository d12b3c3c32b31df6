//! Sizes of public types: clippy's `result_large_err` refuses an error of 128 bytes
//! or more, in the service's own functions, and every `await` copies what is held across it.

use std::convert::Infallible;
use std::future::Ready;
use std::mem::size_of;

use axum::response::Response;
use axum_chassis::request::{RequestService, ResponseFuture};
use axum_chassis::{
    Chassis, ClientAddress, Error, Problem, Running, logs, settings, shutdown, trace,
};

/// Fails with the type's name, because the number alone does not show what has grown.
fn at_most<T>(bytes: usize) {
    let (name, size) = (std::any::type_name::<T>(), size_of::<T>());
    assert!(size <= bytes, "{name} has {size} bytes, more than {bytes}");
}

#[test]
fn a_problem_has_the_size_of_a_pointer() {
    at_most::<Problem>(size_of::<usize>());
    at_most::<Result<(), Problem>>(size_of::<usize>());
}

#[test]
fn every_error_is_at_most_half_of_what_clippy_refuses() {
    at_most::<Error>(64);
    at_most::<logs::SetupError>(64);
    at_most::<logs::InvalidFilter>(64);
    at_most::<settings::Invalid>(64);
    at_most::<settings::InvalidUnit>(64);
    at_most::<settings::InvalidNetwork>(64);
    at_most::<axum_chassis::metrics::InvalidMetric>(64);
}

#[test]
fn extractors_and_handles_are_cheap_to_hold_across_an_await() {
    at_most::<ClientAddress>(24);
    at_most::<trace::RequestId>(48);
    at_most::<trace::Ids>(128);
    at_most::<Chassis<()>>(128);
    at_most::<Running>(128);
    at_most::<shutdown::Shutdown>(32);
    at_most::<axum_chassis::health::Readiness>(8);
    at_most::<axum_chassis::metrics::Metrics>(8);
    at_most::<logs::Logs>(8);
}

#[test]
fn the_layer_adds_a_pointer_to_a_service_and_less_than_half_a_kilobyte_to_its_future() {
    type Handler = Ready<Result<Response, Infallible>>;
    at_most::<RequestService<()>>(size_of::<usize>());
    at_most::<ResponseFuture<Handler>>(size_of::<Handler>() + 448);
}

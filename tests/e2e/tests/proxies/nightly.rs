//! The same with more load, which `.ci/run` leaves to each night.

use crate::{early, idle, restart};

#[test]
#[ignore = "needs nginx, haproxy, varnish, apache2, caddy and traefik"]
fn a_response_to_an_unread_upload_reaches_the_client() {
    early::uploads(50, &[20_000, 50_000, 200_000, 1_000_000, 5_000_000]);
}

#[test]
#[ignore = "needs nginx, haproxy, varnish, apache2, caddy and traefik"]
fn no_request_fails_while_one_service_after_the_other_restarts() {
    restart::restarts(30);
}

#[test]
#[ignore = "needs haproxy, apache2, caddy and traefik"]
fn no_post_over_http2_fails_when_the_service_closes_the_connection() {
    idle::posts(1000);
}

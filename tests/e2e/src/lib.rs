//! Tests that generate, build, ship and run services for real.

//! The same with more load, which `.ci/run` leaves to each night.

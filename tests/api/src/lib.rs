//! The public API of the crate, in `listing.txt`: see the test.

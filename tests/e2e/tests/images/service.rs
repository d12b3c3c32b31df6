//! The chassis's own service.

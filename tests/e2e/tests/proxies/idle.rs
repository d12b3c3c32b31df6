//! Requests at the moment when the service closes a connection that has been idle.

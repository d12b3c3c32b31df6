//! What proxies pass on: the client's address, WebSockets, server-sent events, and that a client has left.

//! What the chassis costs beside bare axum and a hand-assembled stack.

fn main() {}

//! flag-lookup
fn main() {}

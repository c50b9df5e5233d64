//! service-status
fn main() {}

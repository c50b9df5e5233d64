//! authorizer
fn main() {}

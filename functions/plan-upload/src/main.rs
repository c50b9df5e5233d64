//! plan-upload
fn main() {}

//! plan-reconcile
fn main() {}

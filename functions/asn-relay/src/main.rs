//! asn-relay
fn main() {}

//! asn-delivery
fn main() {}

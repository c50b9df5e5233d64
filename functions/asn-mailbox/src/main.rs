//! asn-mailbox
fn main() {}

//! The audit log as lines of JSON, one an entry: how it is exported, and what is checked.

use serde::Serialize;

use crate::domain::audit::Chained;

/// An entry as a line, without the line's end. Fields always stand in the same order, without white space, so that an
/// entry has one line and no other.
///
/// # Errors
/// Never for an entry of the log.
pub fn write(entry: &impl Serialize) -> serde_json::Result<String> {
    serde_json::to_string(entry)
}

/// R48: reads a line; `None` where it is not, to the byte, the line of the entry that it tells of.
#[must_use]
pub fn read(line: &[u8]) -> Option<Chained> {
    let entry: Chained = serde_json::from_slice(line).ok()?;
    (write(&entry).ok()?.as_bytes() == line).then_some(entry)
}

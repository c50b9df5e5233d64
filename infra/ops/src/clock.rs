//! What time it is.

use jiff::Timestamp;

/// By the machine's clock; in a simulation by the one that it sets.
pub(crate) fn now() -> Timestamp {
    #[cfg(feature = "testing")]
    if let Some(set) = cpis::simulation::time() {
        return set;
    }
    Timestamp::now()
}

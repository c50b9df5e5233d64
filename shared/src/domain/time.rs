//! How moments and durations are written.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serializer;

/// Milliseconds, to the microsecond.
#[must_use]
pub fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// UTC with exactly three decimals, `2026-11-22T13:18:54.120Z`: text order is time order.
#[must_use]
pub fn sortable(moment: Timestamp) -> String {
    format!("{moment:.3}")
}

/// Serialises as [`sortable`].
///
/// # Errors
/// The serializer's own.
pub fn serialize<S: Serializer>(moment: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&sortable(*moment))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn text_order_is_time_order(a in 0_i64..4_000_000_000_000, b in 0_i64..4_000_000_000_000) {
            let text = |ms| sortable(Timestamp::from_millisecond(ms).expect("in range"));
            prop_assert_eq!(a.cmp(&b), text(a).cmp(&text(b)));
            prop_assert_eq!(text(a).parse::<Timestamp>().expect("valid").as_millisecond(), a);
        }
    }
}

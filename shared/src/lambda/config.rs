//! Configuration from the environment. What is missing stops the function at its start, never at a child's look-up.

use jiff::Timestamp;

use crate::{domain::nhs_number::ChildKeySecret, ports::Clock};

/// A variable is missing or wrong. Never holds the value.
#[derive(Debug, thiserror::Error)]
#[error("environment variable {name}: {problem}; set it in template.yaml")]
pub struct ConfigError {
    name: &'static str,
    problem: &'static str,
}

impl ConfigError {
    /// The variable's value is wrong.
    #[must_use]
    pub fn wrong(name: &'static str, problem: &'static str) -> Self {
        Self { name, problem }
    }
}

/// A text that must be there.
///
/// # Errors
/// Where the variable is not set or empty.
pub fn required(name: &'static str) -> Result<String, ConfigError> {
    match std::env::var(name) {
        Ok(value) if !value.is_empty() => Ok(value),
        _ => Err(ConfigError { name, problem: "is not set" }),
    }
}

/// A whole number that must be there.
///
/// # Errors
/// Where the variable is not set or not a number from 0 to 4,294,967,295.
pub fn required_number(name: &'static str) -> Result<u32, ConfigError> {
    required(name)?.parse().map_err(|_| ConfigError::wrong(name, "is not a whole number"))
}

/// `CHILD_KEY_SECRET` (R3). There is no default: with another secret every child would be unknown.
///
/// # Errors
/// Where it is not set or shorter than 32 bytes.
pub fn child_key_secret() -> Result<ChildKeySecret, ConfigError> {
    const NAME: &str = "CHILD_KEY_SECRET";
    ChildKeySecret::new(required(NAME)?.as_bytes()).map_err(|problem| ConfigError::wrong(NAME, problem))
}

/// The machine's clock, cut to the millisecond.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        #[cfg(feature = "testing")]
        if let Some(set) = crate::simulation::time() {
            return set;
        }
        let now = Timestamp::now();
        Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
    }
}

//! Ctrl-C: the first ends the work in hand and then the command, in good order; the second ends it at once.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    flag,
};
use tokio::time::{Instant, sleep, sleep_until};

use crate::failure::{Failure, Result};

/// Exit status of a command that a second signal ends.
const KILLED: i32 = 130;
/// How soon a signal is noticed while the command waits.
const NOTICE: Duration = Duration::from_millis(100);

/// Whether the command was told to end; nothing, where nobody can tell it.
#[derive(Debug, Clone)]
pub(crate) struct Interrupt(Option<Arc<AtomicBool>>);

impl Interrupt {
    /// From now on SIGINT, SIGTERM and SIGHUP (the terminal is gone) are noted rather than obeyed.
    pub(crate) fn watch() -> Result<Self> {
        // Whoever runs a simulation wants to be able to end it.
        #[cfg(feature = "testing")]
        if cpis::simulation::time().is_some() {
            return Ok(Self(None));
        }
        let noted = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            // In this order: the first signal finds the flag down, and raises it.
            flag::register_conditional_shutdown(signal, KILLED, Arc::clone(&noted))
                .and_then(|_| flag::register(signal, Arc::clone(&noted)))
                .map_err(|e| Failure::error(format!("cannot watch for signals: {e}")))?;
        }
        Ok(Self(Some(noted)))
    }

    /// None that comes.
    #[cfg(test)]
    pub(crate) fn never() -> Self {
        Self(None)
    }

    /// Whether a signal has come.
    pub(crate) fn came(&self) -> bool {
        self.0.as_ref().is_some_and(|noted| noted.load(Ordering::Relaxed))
    }

    /// Waits for a signal.
    pub(crate) async fn signalled(&self) {
        if self.0.is_none() {
            return pending().await;
        }
        while !self.came() {
            sleep(NOTICE).await;
        }
    }

    /// Waits until a moment or a signal.
    pub(crate) async fn wait_until(&self, moment: Instant) {
        while !self.came() && Instant::now() + NOTICE < moment {
            sleep(NOTICE).await;
        }
        if !self.came() {
            sleep_until(moment).await;
        }
    }
}

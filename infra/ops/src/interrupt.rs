//! Ctrl-C: the first ends the work in hand and then the command, in good order; the second ends it at once.

use std::{
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

/// Whether the command was told to end.
#[derive(Debug, Clone)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// From now on SIGINT, SIGTERM and SIGHUP (the terminal is gone) are noted rather than obeyed.
    pub(crate) fn watch() -> Result<Self> {
        let noted = Arc::new(AtomicBool::new(false));
        // Whoever runs a simulation wants to be able to end it.
        #[cfg(feature = "testing")]
        if cpis::simulation::time().is_some() {
            return Ok(Self(noted));
        }
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            // In this order: the first signal finds the flag down, and raises it.
            flag::register_conditional_shutdown(signal, KILLED, Arc::clone(&noted))
                .and_then(|_| flag::register(signal, Arc::clone(&noted)))
                .map_err(|e| Failure::error(format!("cannot watch for signals: {e}")))?;
        }
        Ok(Self(noted))
    }

    /// Whether a signal has come.
    pub(crate) fn came(&self) -> bool {
        self.0.load(Ordering::Relaxed)
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

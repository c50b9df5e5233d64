//! How far a command is, on stderr: a bar where that is a terminal, a line now and then where it is not.

use std::{
    cell::Cell,
    io::IsTerminal,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

use crate::output;

/// How often a line is written.
const EVERY: Duration = Duration::from_secs(10);

/// How far a command is.
pub(super) struct Progress {
    bar: ProgressBar,
    length: u64,
    began: Instant,
    told: Cell<Instant>,
    lines: bool,
}

impl Progress {
    /// Of a queue of about this length.
    pub(super) fn of(length: u64) -> Self {
        let style = ProgressStyle::with_template("{bar:30} {pos} of about {len} messages  {elapsed}, {eta} left");
        let bar = ProgressBar::new(length).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let began = Instant::now();
        Self { bar, length, began, told: Cell::new(began), lines: !std::io::stderr().is_terminal() }
    }

    /// So many more are done.
    pub(super) fn add(&self, messages: usize) {
        self.bar.inc(messages as u64);
        if self.lines && self.told.get().elapsed() >= EVERY {
            self.told.set(Instant::now());
            output::tell(said(self.bar.position(), self.length, self.began.elapsed()));
        }
    }

    /// The end.
    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

/// How far, and how long it will take at the speed so far.
fn said(done: u64, length: u64, elapsed: Duration) -> String {
    let length = length.max(done);
    let left = match done {
        0 => String::new(),
        _ => format!(", about {:.0} s left", elapsed.as_secs_f64() * (length - done) as f64 / done as f64),
    };
    format!("{done} of about {length} messages after {} s{left}", elapsed.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_at_the_speed_so_far() {
        let said = |done, length| said(done, length, Duration::from_secs(20));
        assert_eq!(said(1_000, 4_000), "1000 of about 4000 messages after 20 s, about 60 s left");
        assert_eq!(said(5, 3), "5 of about 5 messages after 20 s, about 0 s left");
        assert_eq!(said(0, 3), "0 of about 3 messages after 20 s");
    }
}

//! No more letters a second than were asked for.

use std::time::Duration;

use tokio::time::Instant;

use crate::interrupt::Interrupt;

/// As much of a given rate as this time has may be made up for.
const CATCH_UP: Duration = Duration::from_secs(1);

/// How fast letters go.
pub(super) struct Pace {
    /// Letters a second at the most.
    rate: Option<u32>,
    /// When those that went are paid for.
    due: Instant,
}

impl Pace {
    /// From now on so many a second at the most, or as many as can be.
    pub(super) fn of(rate: Option<u32>) -> Self {
        Self { rate, due: Instant::now() }
    }

    /// Waits, now that so many letters have gone, until others may; until a signal at the most.
    pub(super) async fn wait(&mut self, letters: usize, interrupt: &Interrupt) {
        let Some(rate) = self.rate else { return };
        let takes = Duration::from_secs_f64(letters as f64 / f64::from(rate));
        self.due = self.due.max(Instant::now() - CATCH_UP) + takes;
        interrupt.wait_until(self.due).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    /// A timer goes off within the next millisecond.
    const TICK: Duration = Duration::from_millis(1);

    /// How long it takes until so many letters have gone, a window of them at a time, each of which takes its time by itself.
    async fn takes(letters: usize, rate: Option<u32>, (window, work): (usize, Duration)) -> Duration {
        let began = Instant::now();
        let (mut pace, mut left) = (Pace::of(rate), letters);
        while left > 0 {
            let went = left.min(window);
            sleep(work).await;
            pace.wait(went, &Interrupt::never()).await;
            left -= went;
        }
        began.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_letters_take_as_long_as_their_rate_says() {
        let quick = Duration::ZERO;
        for (letters, rate, window, work) in [
            (100, 20, 20, quick),
            (100, 7, 7, quick),
            (5, 1, 1, quick),
            (10_000, 480, 480, quick),
            (10_000, 100_000, 480, quick),
            // What is done meanwhile is not waited for besides.
            (100, 20, 20, Duration::from_millis(700)),
        ] {
            let took = takes(letters, Some(rate), (window, work)).await;
            let expected = Duration::from_secs_f64(letters as f64 / f64::from(rate));
            assert!((expected..=expected + TICK).contains(&took), "{letters} at {rate}: {took:?}");
        }
        assert_eq!(takes(10_000, None, (480, quick)).await, Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_long_wait_no_more_is_made_up_for_than_a_second_has() {
        const RATE: usize = 50;
        let mut pace = Pace::of(u32::try_from(RATE).ok());
        for idle in [3, 600] {
            // It was the queue that was slow.
            sleep(Duration::from_secs(idle)).await;
            let woke = Instant::now();
            let mut at_once = 0;
            while woke.elapsed() == Duration::ZERO {
                pace.wait(1, &Interrupt::never()).await;
                at_once += 1;
            }
            // One goes before it is known that there was one too many.
            assert_eq!(at_once, RATE + 1, "after {idle} s");
        }
    }
}

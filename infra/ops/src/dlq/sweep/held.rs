//! Messages held out of sight, remembered in a file without a name: memory stays the same however many there are.

use std::{
    collections::VecDeque,
    fs::File,
    os::unix::fs::FileExt,
    time::{Duration, Instant},
};

use aws_sdk_sqs::{Client, types::ChangeMessageVisibilityBatchRequestEntry};
use futures_util::{StreamExt, stream};

use super::{BATCH, CONCURRENCY, Dead};
use crate::{
    failure::{Failure, Result},
    output,
};

/// Messages held within this time of each other are one stretch.
const ONE_STRETCH: Duration = Duration::from_secs(1);
/// After so many stretches in a row that could not be changed, others will not be either.
const GIVE_UP: usize = 2;
/// The most bytes of a stretch that grows.
const STRETCH_BYTES: u64 = 64 * 1024;

/// What is held.
pub(super) struct Held<'a> {
    sqs: &'a Client,
    queue: &'a str,
    hold: Duration,
    /// Receipts, a line each.
    file: Option<File>,
    end: u64,
    count: u64,
    stretches: VecDeque<Stretch>,
    /// Whether some came back into sight before they were let go: the command stood still for too long.
    lapsed: bool,
}

/// Receipts that stand together in the file and were held at about the same time.
struct Stretch {
    since: Instant,
    from: u64,
    to: u64,
}

impl<'a> Held<'a> {
    pub(super) fn new(sqs: &'a Client, queue: &'a str, hold: Duration) -> Self {
        Self { sqs, queue, hold, file: None, end: 0, count: 0, stretches: VecDeque::new(), lapsed: false }
    }

    /// How many there are.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Whether some came back into sight in the middle.
    pub(super) fn lapsed(&self) -> bool {
        self.lapsed || self.stretches.front().is_some_and(|stretch| stretch.since.elapsed() > self.hold)
    }

    /// Remembers letters that are held from now on: those received just now, or which soon come back by themselves.
    pub(super) fn add<'l>(&mut self, letters: impl IntoIterator<Item = &'l Dead>) -> Result<()> {
        let (mut lines, mut count) = (String::new(), 0);
        for receipt in letters.into_iter().filter_map(|dead| dead.message.receipt_handle()) {
            lines.push_str(receipt);
            lines.push('\n');
            count += 1;
        }
        if lines.is_empty() {
            return Ok(());
        }
        let doing = |e| Failure::error(format!("cannot note in the temporary directory what is held: {e}"));
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(tempfile::tempfile().map_err(doing)?),
        };
        file.write_all_at(lines.as_bytes(), self.end).map_err(doing)?;
        let (from, to) = (self.end, self.end + lines.len() as u64);
        self.end = to;
        self.count += count;
        match self.stretches.back_mut() {
            Some(last) if last.to == from && last.since.elapsed() < ONE_STRETCH && to - last.from < STRETCH_BYTES => {
                last.to = to;
            }
            _ => self.stretches.push_back(Stretch { since: Instant::now(), from, to }),
        }
        Ok(())
    }

    /// Holds on to what would soon come back into sight.
    pub(super) async fn renew(&mut self) {
        while self.stretches.front().is_some_and(|s| s.since.elapsed() > self.hold / 2) {
            let Some(stretch) = self.stretches.pop_front() else { return };
            self.lapsed |= stretch.since.elapsed() > self.hold;
            let since = Instant::now();
            // What that fails for is seen, and counted, twice.
            let _ = self.change(&stretch, self.hold).await;
            self.stretches.push_back(Stretch { since, ..stretch });
        }
    }

    /// Lets go of everything. What that fails for comes back by itself.
    pub(super) async fn release(&mut self) {
        let (mut failures, mut in_a_row) = (0, 0);
        while in_a_row < GIVE_UP
            && let Some(stretch) = self.stretches.pop_front()
        {
            let failed = self.change(&stretch, Duration::ZERO).await.is_err();
            failures += usize::from(failed);
            in_a_row = if failed { in_a_row + 1 } else { 0 };
        }
        if failures > 0 {
            let seconds = self.hold.as_secs();
            output::note(format_args!("some messages could not be let go; they can be seen again within {seconds} s"));
        }
        *self = Self::new(self.sqs, self.queue, self.hold);
    }

    /// Sets for how long from now the messages of a stretch stay out of sight.
    async fn change(&self, stretch: &Stretch, hold: Duration) -> std::result::Result<(), ()> {
        let length = usize::try_from(stretch.to - stretch.from).map_err(drop)?;
        let mut lines = vec![0; length];
        self.file.as_ref().ok_or(())?.read_exact_at(&mut lines, stretch.from).map_err(drop)?;
        let lines = String::from_utf8(lines).map_err(drop)?;
        let receipts: Vec<&str> = lines.lines().collect();
        let seconds = i32::try_from(hold.as_secs()).unwrap_or(i32::MAX);
        let calls = receipts.chunks(BATCH).map(|batch| {
            let entries = batch.iter().zip(0..).filter_map(|(receipt, n)| {
                let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(n.to_string());
                entry.receipt_handle(*receipt).visibility_timeout(seconds).build().ok()
            });
            let call = self.sqs.change_message_visibility_batch().queue_url(self.queue);
            call.set_entries(Some(entries.collect())).send()
        });
        let calls: Vec<_> = calls.collect();
        let answers = stream::iter(calls).buffer_unordered(CONCURRENCY);
        answers.fold(Ok(()), async |so_far, answer| so_far.and(answer.map(drop).map_err(drop))).await
    }
}

//! What a simulation of the system sets: the time, and for some of its runs a deliberate bug, which it must then catch; and
//! what it reads: the log. Only tests are built with this, and each thread has its own.

use std::cell::{Cell, RefCell};

use jiff::Timestamp;

/// Stands in every binary that a bug could be planted in, and so in none that ships.
pub const MARK: &str = "deliberate bugs can be planted in this binary: it is for tests only";

thread_local! {
    static TIME: Cell<Option<Timestamp>> = const { Cell::new(None) };
    static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
    static LOG: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Sets what the machine's clock says from now on; `None`: the truth.
pub fn set_time(time: Option<Timestamp>) {
    TIME.set(time);
}

/// The time that was set.
#[must_use]
pub fn time() -> Option<Timestamp> {
    TIME.get()
}

/// Takes a line of the log: its event code.
pub fn log(code: &str) {
    LOG.with_borrow_mut(|log| log.push(code.to_owned()));
}

/// The lines of the log since it was last asked for.
#[must_use]
pub fn take_log() -> Vec<String> {
    LOG.take()
}

/// Plants a bug, or takes it away.
pub fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}

/// Whether this bug is planted.
#[must_use]
pub fn has(bug: Bug) -> bool {
    // Whatever asks this has the mark in it.
    std::hint::black_box(MARK);
    PLANTED.get() == Some(bug)
}

/// A bug that somebody could write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// A look-up whose access could not be recorded is answered all the same.
    AnswersUnrecorded,
    /// The same, of who looked the child up before.
    ShowsUnrecordedHistory,
    /// What a retry discloses beyond the first try is not recorded.
    ForgetsTheRest,
    /// A retry is an access of its own.
    TakesRetriesForNew,
    /// A silent access is told of.
    TellsOfSilentOnes,
    /// Of several authorities just the first is told.
    TellsOneAuthority,
    /// An access and what it owes are two writes.
    WritesTheOutboxApart,
    /// An entry leaves the outbox before it is sent.
    SettlesBeforeSending,
    /// All of a batch counts as sent, whatever the queue said of its entries.
    BelievesWholeBatches,
    /// A notification is put into the mailbox over the one that is there.
    DeliversOverWhatIsThere,
    /// A notification's id comes from the queue's message too, not from what it tells alone.
    KeysOnTheMessage,
    /// The queue forgets messages before they are handled.
    AcknowledgesEarly,
    /// A message that must be handed out again counts as done, so that the queue forgets it.
    IgnoresFailedMessages,
    /// A message that could not be set aside counts as set aside.
    LosesWhatItSetsAside,
    /// What the stream lost is not swept up.
    DropsTheSweep,
    /// An older file writes over a newer one's plans.
    IgnoresTheSequence,
    /// A plan that could not be written counts as loaded.
    LoadsWithoutWriting,
    /// An upload's answer is kept before its plans are written.
    AcknowledgesBeforeLoading,
    /// A replay deletes letters before it sends them.
    ReplayDeletesFirst,
    /// A replay deletes letters that the queue did not take.
    ReplayBelievesWholeBatches,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::AnswersUnrecorded,
        Self::ShowsUnrecordedHistory,
        Self::ForgetsTheRest,
        Self::TakesRetriesForNew,
        Self::TellsOfSilentOnes,
        Self::TellsOneAuthority,
        Self::WritesTheOutboxApart,
        Self::SettlesBeforeSending,
        Self::BelievesWholeBatches,
        Self::DeliversOverWhatIsThere,
        Self::KeysOnTheMessage,
        Self::AcknowledgesEarly,
        Self::IgnoresFailedMessages,
        Self::LosesWhatItSetsAside,
        Self::DropsTheSweep,
        Self::IgnoresTheSequence,
        Self::LoadsWithoutWriting,
        Self::AcknowledgesBeforeLoading,
        Self::ReplayDeletesFirst,
        Self::ReplayBelievesWholeBatches,
    ];
}

//! What the system does: one file a use case, over ports. The order of steps is here and nowhere else.

pub mod daily_notices;
pub mod deliver;
pub mod ledger;
pub mod look_up;
pub mod mailbox;
pub mod number_changes;
pub mod push;
pub mod queued;
pub mod relay;
pub mod search_audit;
mod settings;
#[cfg(test)]
mod tests;
pub mod upload_plans;
pub mod watch;
pub mod watch_mailboxes;

//! Lets accesses be watched, and says what was found.

use cpis::{
    aws::Dynamo,
    domain::{
        access::Access,
        watch::{Code, Finding},
    },
    lambda::telemetry::{Event, Level},
    ports::{AccessWatch, PortResult},
    usecase::watch::{Watch, Watched},
};

use crate::handler::SERVICE;

/// Over the tables.
pub(crate) struct Watcher<'a>(pub(crate) &'a Dynamo);

impl AccessWatch for Watcher<'_> {
    /// What cannot be counted now is tried again. What never can be is not: it would keep its access out of the audit log,
    /// and an alarm sounds instead.
    async fn watch(&self, accesses: &[Access]) -> PortResult<()> {
        let watch = Watch { tally: self.0, history: self.0, log: self.0, codes: &Code::ALL };
        let Watched { findings, unfinished, error } = watch.accesses(accesses).await;
        findings.iter().for_each(tell);
        match error {
            Some(error) if error.retryable => Err(error),
            Some(error) => {
                let event = Event::begin(SERVICE).failed(&error).level(Level::Error);
                event.metric("AccessesUncounted", "Count", unfinished.len()).emit("watch.uncounted");
                Ok(())
            }
            None => Ok(()),
        }
    }
}

/// R58: nothing here names a child.
fn tell(finding: &Finding) {
    let Finding { code, window, organisation, at, count, limit, until } = finding;
    Event::begin(SERVICE)
        .level(Level::Warn)
        .with("code", code.as_str())
        .with("who", window.subject.as_str())
        .with("organisation", organisation.as_str())
        .with("at", at.to_string())
        .with("count", *count)
        .with("limit", *limit)
        .with("until", until.map(|until| until.to_string()))
        .with("findingId", finding.id().to_string())
        .metric("AuditFindings", "Count", 1)
        .emit("watch.finding");
}

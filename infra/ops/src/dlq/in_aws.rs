//! Replay by AWS itself: SQS moves every letter, whatever becomes of this command.

use std::time::Duration;

use aws_sdk_sqs::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    operation::start_message_move_task::StartMessageMoveTaskError,
    types::{ListMessageMoveTasksResultEntry, QueueAttributeName},
};
use cpis::ports::AuditLog;
use serde_json::json;
use tokio::time::Instant;

use super::{progress::Progress, sweep::Length, trail::Trail};
use crate::{
    failure::{Failure, Outcome, Result, on_aws},
    interrupt::Interrupt,
    output,
};

/// How often to ask how far it is.
const ASK: Duration = Duration::from_secs(2);
/// What AWS says of a move that goes on.
const RUNNING: &str = "RUNNING";
/// The most that SQS moves in a second.
pub(super) const MOST: u32 = 500;

/// Starts a task that moves all letters to the queue, and follows it to its end. A signal cancels it.
pub(super) async fn replay<L: AuditLog>(
    sqs: &Client,
    (letters, queue): (&str, &str),
    rate: Option<u32>,
    mut trail: Trail<L>,
    json: bool,
) -> Result<Outcome> {
    let interrupt = Interrupt::watch()?;
    let (from, to) = (arn(sqs, letters).await?, arn(sqs, queue).await?);
    let length = Length::of(sqs, letters).await?.total();
    trail.begin().await?;
    let call = sqs.start_message_move_task().source_arn(&from).destination_arn(&to);
    let started = call.set_max_number_of_messages_per_second(rate.and_then(|n| i32::try_from(n).ok())).send().await;
    let handle = match started {
        Ok(started) => started.task_handle.unwrap_or_default(),
        Err(error) => match underway(sqs, (&from, &to)).await {
            Some(handle) => {
                output::note("a move is under way already, and is followed to its end");
                handle
            }
            None => return Err(also(trail.end("failed", &[]).await, refused(error))),
        },
    };
    let ended = follow(sqs, &from, &handle, length, &interrupt).await;
    // Of a move that goes on unseen nobody can say how many.
    let (how, moved) = match &ended {
        Ok(task) => (task.status().unwrap_or("UNKNOWN").to_lowercase(), Some(count(task))),
        Err(_) => ("unknown".to_owned(), None),
    };
    let counts: Vec<_> = moved.iter().map(|moved| ("moved", *moved)).collect();
    let told = trail.end(&how, &counts).await;
    let moved = moved.unwrap_or_default();
    let text = format!("replayed {moved} in AWS: {how}");
    let task = match ended {
        Ok(task) if told.is_ok() => task,
        Ok(_) => return Err(also(told, text)),
        Err(failure) => return Err(also(told, failure.to_string())),
    };
    if json {
        output::json(&json!({"inAws": true, "ending": how, "moved": moved}))?
    } else {
        output::line(&text)?
    }
    if let Some(why) = task.failure_reason() {
        output::note(format_args!("AWS says: {why}"));
    }
    Ok(if how == "completed" { Outcome::Done } else { Outcome::NeedsAttention })
}

/// Why a move did not start.
fn refused(error: SdkError<StartMessageMoveTaskError>) -> String {
    let unknown = error.code().is_some_and(|code| {
        ["UnsupportedOperation", "InvalidAction", "UnknownOperationException"].iter().any(|c| code.contains(c))
    });
    let hint = if unknown { "; this endpoint does not move messages by itself: leave out --in-aws" } else { "" };
    format!("{}{hint}", on_aws("start the move in AWS")(error))
}

/// The move between these queues that goes on already, of which there can be but one: that of a run that was killed, or of this one,
/// to which the answer was lost.
async fn underway(sqs: &Client, (from, to): (&str, &str)) -> Option<String> {
    let newest = newest(sqs, from).await.ok()??;
    let is_ours = newest.status() == Some(RUNNING) && newest.destination_arn() == Some(to);
    newest.task_handle.filter(|_| is_ours)
}

/// The newest move out of a queue.
async fn newest(sqs: &Client, from: &str) -> Result<Option<ListMessageMoveTasksResultEntry>> {
    let call = sqs.list_message_move_tasks().source_arn(from).max_results(1);
    let answer = call.send().await.map_err(on_aws("ask AWS how far the move is (it goes on)"))?;
    Ok(answer.results.unwrap_or_default().into_iter().next())
}

/// What went wrong first, and that the audit log could not be told of it.
fn also(told: Result<()>, first: String) -> Failure {
    Failure::error(match told {
        Ok(()) => first,
        Err(untold) => format!("{first}; and {untold}"),
    })
}

/// Follows a task to its end.
async fn follow(
    sqs: &Client,
    from: &str,
    handle: &str,
    length: u64,
    interrupt: &Interrupt,
) -> Result<ListMessageMoveTasksResultEntry> {
    let progress = Progress::of(length);
    let (mut told, mut cancelled) = (0, None);
    loop {
        if interrupt.came() && cancelled.is_none() {
            let call = sqs.cancel_message_move_task().task_handle(handle);
            let answer = call.send().await.map_err(on_aws("cancel the move in AWS, which goes on"));
            cancelled = Some(answer.map(drop));
        }
        let task = newest(sqs, from).await?;
        let task = task.ok_or_else(|| Failure::error("AWS does not know the move any more; see `cpis dlq list`"))?;
        progress.add(usize::try_from(count(&task).saturating_sub(told)).unwrap_or(0));
        told = count(&task);
        if !matches!(task.status(), Some(RUNNING | "CANCELLING")) {
            progress.end();
            return Ok(task);
        }
        match cancelled {
            None => interrupt.wait_until(Instant::now() + ASK).await,
            Some(Ok(())) => tokio::time::sleep(ASK).await,
            // It was not over when it could not be cancelled.
            Some(Err(failure)) => return Err(failure),
        }
    }
}

fn count(task: &ListMessageMoveTasksResultEntry) -> u64 {
    u64::try_from(task.approximate_number_of_messages_moved()).unwrap_or(0)
}

/// The ARN of a queue.
async fn arn(sqs: &Client, queue: &str) -> Result<String> {
    let name = QueueAttributeName::QueueArn;
    let call = sqs.get_queue_attributes().queue_url(queue).attribute_names(name.clone());
    let answer = call.send().await.map_err(on_aws("ask for the queue's ARN"))?;
    let arn = answer.attributes.and_then(|mut attributes| attributes.remove(&name));
    arn.ok_or_else(|| Failure::error("the queue has no ARN"))
}

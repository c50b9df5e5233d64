//! Every alarm of the template fires when what it is there for happens, and keeps still when all is well: a driver for each makes the thing
//! happen to the real binaries, and what they wrote (and what AWS emits of what they did) goes through CloudWatch's rules.
//! And each alarm has its section in `infra/runbooks/alarms.md`.
//!
//! A new alarm needs a line in [`DRIVERS`] and a section there.

#[path = "alarms/own.rs"]
mod own;
#[path = "alarms/runbook.rs"]
mod runbook;
#[path = "alarms/scene.rs"]
mod scene;
#[path = "alarms/usual.rs"]
mod usual;

#[allow(dead_code, reason = "the tests of the template use the rest of it")]
#[path = "template/model.rs"]
mod model;

use cpis_tests::cloudwatch::{Alarm, State};
use futures_util::{StreamExt, future::BoxFuture, stream};
use model::{Template, members};
use scene::{Scene, Story, resolved};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Drivers at work at once.
const AT_ONCE: usize = 4;

/// What makes an alarm's thing happen.
#[derive(Clone, Copy)]
enum Driver {
    /// A function fails.
    FunctionErrors,
    /// Something is in a dead-letter queue.
    DeadLetters,
    /// A queue is not emptied.
    QueueAge,
    /// A function is behind the stream that it reads.
    StreamAge,
    /// One of its own.
    Own(fn() -> BoxFuture<'static, Scene>),
}

use Driver::{DeadLetters, FunctionErrors, Own, QueueAge, StreamAge};

/// Every alarm, by its logical name.
const DRIVERS: [(&str, Driver); 41] = [
    ("AsnDeadLettersAlarm", DeadLetters),
    ("RelayDeadLettersAlarm", DeadLetters),
    ("DeliverySetAsideAlarm", Own(|| Box::pin(own::delivery_set_aside()))),
    ("AsnQueueAgeAlarm", QueueAge),
    ("PushDeadLettersAlarm", DeadLetters),
    ("PushSetAsideAlarm", Own(|| Box::pin(own::push_set_aside()))),
    ("PushQueueAgeAlarm", QueueAge),
    ("PushesOwedAlarm", Own(|| Box::pin(own::pushes_owed()))),
    ("ReceiverRestsAlarm", Own(|| Box::pin(own::receiver_rests()))),
    ("MeshUnreachableAlarm", Own(|| Box::pin(own::mesh_unreachable()))),
    ("NumberChangesDeadLettersAlarm", DeadLetters),
    ("NumberChangesQueueAgeAlarm", QueueAge),
    ("NoticesErrorsAlarm", FunctionErrors),
    ("NoticesAgeAlarm", Own(|| Box::pin(own::notices_age()))),
    ("NotificationsEscalatedAlarm", Own(|| Box::pin(own::notifications_escalated()))),
    ("WatchLateAlarm", Own(|| Box::pin(own::watch_late()))),
    ("AsnWatchErrorsAlarm", FunctionErrors),
    ("OutboxAgeAlarm", Own(|| Box::pin(own::outbox_age()))),
    ("StreamAgeAlarm", StreamAge),
    ("LookupLatencyAlarm", Own(|| Box::pin(own::lookup_latency()))),
    ("ApiErrorsAlarm", Own(|| Box::pin(own::api_errors()))),
    ("JwksUnreachableAlarm", Own(|| Box::pin(own::jwks_unreachable()))),
    ("AuditFindingsAlarm", Own(|| Box::pin(own::audit_findings()))),
    ("AccessesUncountedAlarm", Own(|| Box::pin(own::accesses_uncounted()))),
    ("BudgetsUnreadAlarm", Own(|| Box::pin(own::budgets_unread()))),
    ("PlanUploadErrorsAlarm", FunctionErrors),
    ("PlanReconcileErrorsAlarm", FunctionErrors),
    ("FlagLookupErrorsAlarm", FunctionErrors),
    ("AsnRelayErrorsAlarm", FunctionErrors),
    ("AsnDeliveryErrorsAlarm", FunctionErrors),
    ("AsnPushErrorsAlarm", FunctionErrors),
    ("AsnMailboxErrorsAlarm", FunctionErrors),
    ("MailboxUnreadableAlarm", Own(|| Box::pin(own::mailbox_unreadable()))),
    ("LedgerDeadLettersAlarm", DeadLetters),
    ("UnauditedAgeAlarm", Own(|| Box::pin(own::unaudited_age()))),
    ("StatementAgeAlarm", Own(|| Box::pin(own::statement_age()))),
    ("LedgerStreamAgeAlarm", StreamAge),
    ("AuditLedgerErrorsAlarm", FunctionErrors),
    ("AuditSearchErrorsAlarm", FunctionErrors),
    ("ServiceStatusErrorsAlarm", FunctionErrors),
    ("ThrottlesAlarm", Own(|| Box::pin(own::throttles()))),
];

/// The alarms of the template, with all that they refer to resolved.
fn alarms(template: &Template) -> Vec<(&str, Value)> {
    let alarms = template.of_type("AWS::CloudWatch::Alarm").into_iter();
    alarms.map(|(id, alarm)| (id, resolved(template, &alarm["Properties"]))).collect()
}

#[test]
fn every_alarm_has_a_driver_and_every_driver_an_alarm() {
    let template = Template::load();
    let alarms: BTreeSet<_> = alarms(&template).into_iter().map(|(id, _)| id).collect();
    let driven: BTreeSet<_> = DRIVERS.iter().map(|(id, _)| *id).collect();
    assert_eq!(driven.len(), DRIVERS.len(), "an alarm is driven twice");
    let undriven: Vec<_> = alarms.difference(&driven).collect();
    let idle: Vec<_> = driven.difference(&alarms).collect();
    assert!(
        undriven.is_empty() && idle.is_empty(),
        "alarms without a driver: {undriven:?}; drivers without an alarm: {idle:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_alarm_fires_when_it_must_and_only_then() {
    let template = &Template::load();
    let alarms = alarms(template);
    let drives = alarms.iter().filter_map(|(id, alarm)| {
        let (_, driver) = DRIVERS.iter().find(|(name, _)| name == id)?;
        Some(async move {
            let scene = play(template, *driver, alarm).await;
            judge(alarm, &scene).into_iter().map(|fault| format!("{id}: {fault}")).collect::<Vec<_>>()
        })
    });
    let faults: Vec<_> = stream::iter(drives).buffer_unordered(AT_ONCE).collect().await;
    let faults: Vec<_> = faults.into_iter().flatten().collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

async fn play(template: &Template, driver: Driver, alarm: &Value) -> Scene {
    let subject = alarm["Dimensions"][0]["Value"].as_str().unwrap_or_default();
    match driver {
        FunctionErrors => usual::function_errors(template, subject).await,
        DeadLetters => usual::dead_letters(template, subject).await,
        QueueAge => usual::queue_age(template, subject, alarm["Threshold"].as_u64().unwrap_or_default()).await,
        StreamAge => usual::stream_age(template, subject).await,
        Own(drive) => drive().await,
    }
}

/// What is wrong with an alarm, by what happened.
fn judge(alarm: &Value, scene: &Scene) -> Vec<String> {
    let mut faults = Vec::new();
    let states =
        |alarm: &Value, story: &Story| Alarm::of(&with(alarm, &story.changes)).states(&story.metrics, story.minutes);
    for story in &scene.bad {
        let states = states(alarm, story);
        if !states.contains(&State::Alarm) {
            faults.push(format!("does not fire though {}: {states:?} {:?}", story.what, story.metrics.0));
        }
    }
    for story in &scene.good {
        let states = states(alarm, story);
        if states.is_empty() || states.iter().any(|state| *state != State::Ok) {
            faults.push(format!("is not well though {}: {states:?} {:?}", story.what, story.metrics.0));
        }
    }
    // What happened is what fires it, and not what the alarm makes of silence: one on another metric would keep still.
    let another = with(alarm, &json!({"TreatMissingData": "notBreaching", "MetricName": "Another"}));
    let silent = |story: &Story| !states(&another, story).contains(&State::Alarm);
    if scene.bad.is_empty() || scene.good.is_empty() || !scene.bad.iter().all(silent) {
        faults.push("its driver shows nothing".to_owned());
    }
    let told = with(alarm, &json!({"TreatMissingData": "notBreaching"}));
    if !scene.bad.iter().any(|story| states(&told, story).contains(&State::Alarm)) {
        faults.push("only silence fires it".to_owned());
    }
    faults
}

fn with(alarm: &Value, changes: &Value) -> Value {
    let mut alarm = alarm.clone();
    members(changes).for_each(|(name, value)| alarm[name] = value.clone());
    alarm
}

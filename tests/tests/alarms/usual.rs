//! The usual kinds: a function fails, a letter is dead, a queue is not emptied, a stream is not read. All that they need to know of an alarm's
//! subject is in the template.

use crate::{
    model::{Template, attribute_of, members, text},
    scene::{Scene, Story, errors, package, records, run, send_nonsense, table_name},
};
use cpis_tests::{
    binaries,
    dynamo::function_environment,
    events::{self, Request},
    receiver::Broken,
    runtime_api::{Function, Reply},
    world::World,
};
use serde_json::{Map, Value, json};

/// Where AWS has the metrics of queues and of functions.
const SQS: &str = "AWS/SQS";
const LAMBDA: &str = "AWS/Lambda";
/// How long a function may be behind its stream, in minutes, before it is bad beyond doubt.
const BEHIND: u64 = 6;

/// The events of a function: type and properties.
fn triggers<'a>(template: &'a Template, id: &str) -> Vec<(&'a str, &'a Value)> {
    let events = template.0["Resources"][id].pointer("/Properties/Events").unwrap_or(&Value::Null);
    members(events).map(|(_, event)| (text(&event["Type"]), &event["Properties"])).collect()
}

/// An event of a kind that the function must answer, whatever its answer is.
fn harmless(world: &World, kind: &str, trigger: &Value) -> Value {
    match kind {
        "Api" => Request::new("GET", "/nowhere").event(),
        "SQS" => {
            send_nonsense(world, "push");
            events::sqs_event("push", &world.sqs.receive("push"))
        }
        "DynamoDB" => json!({"Records": []}),
        "Schedule" => {
            trigger["Input"].as_str().map_or_else(events::schedule_event, |input| input.parse().expect("JSON"))
        }
        other => panic!("no event of type {other} here yet: add it"),
    }
}

/// A function without its settings, as after a deployment that lost them: it must say so and not run. Lambda counts that as an error of
/// each invocation ("Types of metrics for Lambda functions": configuration errors).
async fn unset(function: &str) {
    let started = Function::start(&binaries::function(function), &[]).await;
    let Err(error) = started else { panic!("{function} starts without its settings") };
    assert!(error.to_string().contains("is not set"), "{function} does not say what it lacks: {error}");
}

/// A function fails by itself, or is given what it cannot read. Whatever it answers is none of its errors.
pub(crate) async fn function_errors(template: &Template, id: &str) -> Scene {
    let function = package(template, id);
    let dimensions = [("FunctionName", id)];
    let mut lost = Story::new("its settings are lost", 5);
    unset(function).await;
    lost.metrics.note(0, LAMBDA, "Errors", &dimensions, 1.0);

    let world = World::new().await;
    let mut unreadable = Story::new("it is given what it cannot read", 5);
    let reply = run(&world, function, &[], &json!("no event at all"), &mut unreadable, 0).await;
    unreadable.metrics.note(0, LAMBDA, "Errors", &dimensions, errors(&reply));

    let mut well = Story::new("it answers", 5);
    for (kind, trigger) in triggers(template, id) {
        let reply = run(&world, function, &[], &harmless(&world, kind, trigger), &mut well, 0).await;
        well.metrics.note(0, LAMBDA, "Errors", &dimensions, errors(&reply));
    }
    assert!(!well.metrics.0.is_empty(), "nothing calls {function}");
    Scene { bad: vec![lost, unreadable], good: vec![well] }
}

/// Every way into a dead-letter queue that the template has.
pub(crate) async fn dead_letters(template: &Template, id: &str) -> Scene {
    let mut scene = Scene::default();
    for (source, queue) in template.of_type("AWS::SQS::Queue") {
        let redrive = &queue["Properties"]["RedrivePolicy"];
        if attribute_of(&redrive["deadLetterTargetArn"], "Arn") == Some(id) {
            redriven(template, source, id, &mut scene).await;
        }
    }
    for function in template.functions() {
        for (kind, trigger) in triggers(template, function.id) {
            let destination = &trigger["DestinationConfig"]["OnFailure"]["Destination"];
            if kind == "DynamoDB" && attribute_of(destination, "Arn") == Some(id) {
                given_up(function.name, trigger, id, &mut scene).await;
            }
        }
        let by_itself = &function.properties["EventInvokeConfig"]["DestinationConfig"]["OnFailure"]["Destination"];
        if attribute_of(by_itself, "Arn") == Some(id) {
            never_answered(function.name, function.properties, id, &mut scene).await;
        }
    }
    assert!(!scene.bad.is_empty(), "nothing in the template leads to {id}");
    scene
}

/// What CloudWatch is told of a queue.
fn letters(world: &World, id: &str, story: &mut Story) {
    let (visible, _) = world.sqs.measured(id);
    story.metrics.note(0, SQS, "ApproximateNumberOfMessagesVisible", &[("QueueName", id)], visible as f64);
}

/// The queue's own redrive: a message whose function never answers, and one that is taken at the last moment.
async fn redriven(template: &Template, source: &str, id: &str, scene: &mut Scene) {
    let property = |pointer: &str| template.property(source, pointer).as_u64().unwrap_or_default();
    let (visibility, most) = (property("VisibilityTimeout"), property("RedrivePolicy/maxReceiveCount"));
    let world = World::new().await;
    let tries = |tries: u64| {
        world.sqs.create(id, visibility, None);
        world.sqs.create(source, visibility, Some((id, u32::try_from(most).expect("small"))));
        send_nonsense(&world, source);
        for _ in 0..tries {
            assert_eq!(world.sqs.receive(source).len(), 1);
            world.sqs.advance(visibility);
        }
    };
    for function in template.functions() {
        let reads =
            |(kind, trigger): &(&str, &Value)| *kind == "SQS" && attribute_of(&trigger["Queue"], "Arn") == Some(source);
        if triggers(template, function.id).iter().any(reads) {
            unset(function.name).await;
        }
    }
    let mut never = Story::new("a message was never taken", 1);
    tries(most);
    assert!(world.sqs.receive(source).is_empty(), "it is given up");
    letters(&world, id, &mut never);
    let mut last = Story::new("a message was taken at the last try", 1);
    tries(most - 1);
    let taken = world.sqs.receive(source);
    world.sqs.delete(source, taken.iter().map(|m| m.receipt.as_str()));
    letters(&world, id, &mut last);
    scene.bad.push(never);
    scene.good.push(last);
}

/// Whether the event source mapping must hand a batch over again.
fn again(reply: &Reply) -> bool {
    errors(reply) > 0.0 || reply.json()["batchItemFailures"].as_array().is_some_and(|items| !items.is_empty())
}

/// A function none of whose calls to AWS gets an answer.
async fn cut_off(world: &World, function: &str) -> (Broken, Function) {
    let broken = Broken::start().await;
    let environment = function_environment(broken.url.trim_end_matches("/asn"), &world.sqs);
    let running = Function::start(&binaries::function(function), &environment).await;
    (broken, running.unwrap_or_else(|e| panic!("{function}: {e}")))
}

/// The stream's event source mapping: after its retries it sends where the records are to the queue, and goes on.
async fn given_up(function: &str, trigger: &Value, id: &str, scene: &mut Scene) {
    let (world, records) = records(&table_name(&trigger["Stream"])).await;
    let event = events::stream_event(&records);
    let tries = 1 + trigger["MaximumRetryAttempts"].as_u64().expect("a limit");
    world.sqs.create(id, 30, None);
    let mut well = Story::new("records are taken", 1);
    assert!(!again(&run(&world, function, &[], &event, &mut well, 0).await), "{function} takes them");
    letters(&world, id, &mut well);
    let mut gone = Story::new("records were given up", 1);
    let (_broken, running) = cut_off(&world, function).await;
    let mut failed = 0;
    for _ in 0..tries {
        failed += u64::from(again(&running.invoke_json(&event).await));
    }
    if failed == tries {
        world.sqs.send(id, &json!({"DDBStreamBatchInfo": {"batchSize": records.len()}}).to_string(), Map::new());
    }
    letters(&world, id, &mut gone);
    scene.bad.push(gone);
    scene.good.push(well);
}

/// An asynchronous invocation that fails each time goes to its destination.
async fn never_answered(function: &str, properties: &Value, id: &str, scene: &mut Scene) {
    let world = World::new().await;
    world.sqs.create(id, 30, None);
    let mut well = Story::new("nothing was given up", 1);
    letters(&world, id, &mut well);
    let mut gone = Story::new("an invocation was given up", 1);
    let tries = 1 + properties["EventInvokeConfig"]["MaximumRetryAttempts"].as_u64().unwrap_or(2);
    let mut failed = 0.0;
    for _ in 0..tries {
        failed += errors(&run(&world, function, &[], &json!("no event at all"), &mut gone, 0).await);
    }
    if failed as u64 == tries {
        world.sqs.send(id, &json!({"requestPayload": "no event at all"}).to_string(), Map::new());
    }
    letters(&world, id, &mut gone);
    scene.bad.push(gone);
    scene.good.push(well);
}

/// Nobody takes what is in a queue, or everything is taken within the minute.
pub(crate) async fn queue_age(template: &Template, id: &str, threshold: u64) -> Scene {
    let minutes = threshold / 60 + 5;
    let world = World::new().await;
    let visibility = template.property(id, "VisibilityTimeout").as_u64().unwrap_or_default();
    let measure = |story: &mut Story, minute: u64| {
        let (_, age) = world.sqs.measured(id);
        story.metrics.note(minute, SQS, "ApproximateAgeOfOldestMessage", &[("QueueName", id)], age as f64);
    };
    let mut left = Story::new("nobody takes what is in it", minutes);
    let mut taken = Story::new("all is taken at once", minutes);
    world.sqs.create(id, visibility, None);
    for minute in 0..minutes {
        send_nonsense(&world, id);
        let messages = world.sqs.receive(id);
        world.sqs.advance(30);
        measure(&mut taken, minute);
        world.sqs.delete(id, messages.iter().map(|m| m.receipt.as_str()));
        world.sqs.advance(30);
    }
    world.sqs.create(id, visibility, None);
    send_nonsense(&world, id);
    for minute in 0..minutes {
        measure(&mut left, minute);
        world.sqs.advance(60);
    }
    Scene { bad: vec![left], good: vec![taken] }
}

/// A function fails over the same records minute after minute. `IteratorAge` is the age of the last record when it is handed over, in
/// milliseconds ("Types of metrics for Lambda functions").
pub(crate) async fn stream_age(template: &Template, id: &str) -> Scene {
    let function = package(template, id);
    let trigger = triggers(template, id).into_iter().find(|(kind, _)| *kind == "DynamoDB");
    let (_, trigger) = trigger.unwrap_or_else(|| panic!("{function} reads no stream"));
    let (world, records) = records(&table_name(&trigger["Stream"])).await;
    let event = events::stream_event(&records);
    let dimensions = [("FunctionName", id)];
    let mut well = Story::new("it keeps up", BEHIND);
    let mut behind = Story::new("it fails over the same records again and again", BEHIND);
    let (_broken, running) = cut_off(&world, function).await;
    for minute in 0..BEHIND {
        let age = minute as f64 * 60_000.0;
        behind.metrics.note(minute, LAMBDA, "IteratorAge", &dimensions, age);
        if !again(&running.invoke_json(&event).await) {
            break;
        }
    }
    assert!(!again(&run(&world, function, &[], &event, &mut well, 0).await), "{function} takes them");
    well.metrics.note(0, LAMBDA, "IteratorAge", &dimensions, 0.0);
    Scene { bad: vec![behind], good: vec![well] }
}

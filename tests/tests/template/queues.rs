//! Queues: where what cannot be delivered goes, for how long, and how long a consumer may take.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::model::{Findings, Template, attribute_of, brief, items, members, retained, text};

/// What SQS keeps for if nothing is said, and at most; in seconds.
const RETENTION: (i64, i64) = (345_600, 1_209_600);

/// The queues that others name as the place for what failed.
pub(crate) fn dead_letter_queues(template: &Template) -> BTreeSet<&str> {
    let redriven = template
        .of_type("AWS::SQS::Queue")
        .into_iter()
        .map(|(_, q)| &q["Properties"]["RedrivePolicy"]["deadLetterTargetArn"]);
    let functions = template.functions();
    let events = functions.iter().flat_map(|f| {
        members(&f.properties["Events"]).map(|(_, e)| &e["Properties"]["DestinationConfig"]["OnFailure"]["Destination"])
    });
    redriven.chain(events).filter_map(|arn| attribute_of(arn, "Arn")).collect()
}

fn retention(template: &Template, queue: &str) -> i64 {
    template.property(queue, "MessageRetentionPeriod").as_i64().unwrap_or(RETENTION.0)
}

/// Every queue has a dead-letter queue, which keeps for longer and has an alarm; all are encrypted.
pub(crate) fn dead_letters(template: &Template, findings: &mut Findings) {
    let dead = dead_letter_queues(template);
    for (id, _) in template.of_type("AWS::SQS::Queue") {
        findings.expect(
            brief(template.property(id, "KmsMasterKeyId")) == "DataKey.Arn",
            format!("{id} is not encrypted with our key"),
        );
        retained(template, id, findings);
        if dead.contains(id) {
            findings.expect(has_alarm(template, id), format!("{id} has no alarm"));
            continue;
        }
        let target =
            attribute_of(template.property(id, "RedrivePolicy/deadLetterTargetArn"), "Arn").unwrap_or_default();
        findings.expect(
            template.0["Resources"][target]["Type"] == "AWS::SQS::Queue",
            format!("{id} has no dead-letter queue"),
        );
        // A push that waits for its receiver is received each time; asn-push itself gives it up.
        let receives = if id == "PushQueue" { 1_000 } else { 5 };
        findings.same(
            &format!("{id} receives"),
            template.property(id, "RedrivePolicy/maxReceiveCount").as_i64(),
            Some(receives),
        );
        findings.expect(
            retention(template, target) > retention(template, id),
            format!("{target} keeps no longer than {id}"),
        );
    }
    for id in dead {
        findings.expect(retention(template, id) == RETENTION.1, format!("{id} does not keep for as long as it can"));
    }
}

fn has_alarm(template: &Template, queue: &str) -> bool {
    template.of_type("AWS::CloudWatch::Alarm").into_iter().any(|(_, alarm)| {
        let alarm = &alarm["Properties"];
        alarm["MetricName"] == "ApproximateNumberOfMessagesVisible"
            && alarm["Threshold"] == 0
            && alarm["Dimensions"] == json!([{"Name": "QueueName", "Value": {"Fn::GetAtt": [queue, "QueueName"]}}])
    })
}

/// Every queue is consumed; a message stays hidden for six times as long as its consumer may take; one bad message fails alone.
pub(crate) fn consumers(template: &Template, findings: &mut Findings) {
    let dead = dead_letter_queues(template);
    let events = template.events("SQS");
    for (id, _) in template.of_type("AWS::SQS::Queue").into_iter().filter(|(id, _)| !dead.contains(id)) {
        let consumers: Vec<_> = events.iter().filter(|(_, e)| attribute_of(&e["Queue"], "Arn") == Some(id)).collect();
        findings.expect(consumers.len() == 1, format!("{id} has {} consumers", consumers.len()));
        for (name, event) in consumers {
            let hidden = template.property(id, "VisibilityTimeout").as_i64().unwrap_or(30);
            let limit = template
                .functions()
                .iter()
                .find(|f| f.name == *name)
                .and_then(|f| f.properties["Timeout"].as_i64())
                .unwrap_or(900);
            findings.expect(hidden >= 6 * limit, format!("{id} hides for {hidden} s, {name} may take {limit} s"));
            findings.expect(
                event["FunctionResponseTypes"] == json!(["ReportBatchItemFailures"]),
                format!("{name}: one bad message fails its batch"),
            );
            concurrency(template, event, findings);
        }
    }
}

/// The concurrency is a number for every value of its parameter.
fn concurrency(template: &Template, event: &Value, findings: &mut Findings) {
    let looked_up = items(&event["ScalingConfig"]["MaximumConcurrency"]["Fn::FindInMap"]);
    let [map, parameter, key] = looked_up[..] else {
        return findings.expect(false, "deliveries at once are not limited");
    };
    for value in items(&template.0["Parameters"][brief(parameter)]["AllowedValues"]).into_iter().map(text) {
        let number = template.0["Mappings"][text(map)][value][text(key)].as_i64();
        findings.expect(
            number == value.parse().ok() && number >= Some(2),
            format!("{value} deliveries at once means {number:?}"),
        );
    }
}

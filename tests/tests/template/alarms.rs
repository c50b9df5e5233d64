//! Alarms that can fire: on metrics that exist, with the dimensions they have, over thresholds that can be reached.

use serde_json::{Value, json};

use crate::model::{Findings, Template, brief, items, number, text};
use crate::queues::dead_letter_queues;

/// What a metric's figures are, and so which statistic says something about them.
#[derive(PartialEq, Clone, Copy)]
enum Kind {
    /// Things that happened: their sum.
    Count,
    /// A level or an age: its maximum.
    Gauge,
    /// Times of many calls: a percentile.
    Spread,
}

/// Namespace, metric, kind, and for our own the function that emits it. AWS's: from the "CloudWatch metrics" page of each service.
const METRICS: [(&str, &str, Kind, &str); 30] = [
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible", Kind::Gauge, ""),
    ("AWS/SQS", "ApproximateNumberOfMessagesNotVisible", Kind::Gauge, ""),
    ("AWS/SQS", "ApproximateAgeOfOldestMessage", Kind::Gauge, ""),
    ("AWS/Lambda", "Invocations", Kind::Count, ""),
    ("AWS/Lambda", "Errors", Kind::Count, ""),
    ("AWS/Lambda", "Throttles", Kind::Count, ""),
    ("AWS/Lambda", "Duration", Kind::Spread, ""),
    ("AWS/Lambda", "IteratorAge", Kind::Gauge, ""),
    ("AWS/Lambda", "ConcurrentExecutions", Kind::Gauge, ""),
    ("AWS/ApiGateway", "Count", Kind::Count, ""),
    ("AWS/ApiGateway", "4XXError", Kind::Count, ""),
    ("AWS/ApiGateway", "5XXError", Kind::Count, ""),
    ("AWS/ApiGateway", "Latency", Kind::Spread, ""),
    ("AWS/ApiGateway", "IntegrationLatency", Kind::Spread, ""),
    ("CPIS", "OutboxOldestSeconds", Kind::Gauge, "asn-relay"),
    ("CPIS", "NoticesAgeSeconds", Kind::Gauge, "asn-relay"),
    ("CPIS", "UnauditedOldestSeconds", Kind::Gauge, "audit-ledger"),
    ("CPIS", "StatementAgeSeconds", Kind::Gauge, "audit-ledger"),
    ("CPIS", "DeliverySetAside", Kind::Count, "asn-delivery"),
    ("CPIS", "PushesOwedOldestSeconds", Kind::Gauge, "asn-push"),
    ("CPIS", "PushSetAside", Kind::Count, "asn-push"),
    ("CPIS", "ReceiverRested", Kind::Count, "asn-push"),
    ("CPIS", "MeshUnreachable", Kind::Count, "asn-push"),
    ("CPIS", "MailboxUnreadable", Kind::Count, "asn-mailbox"),
    ("CPIS", "NotificationsEscalated", Kind::Gauge, "asn-watch"),
    ("CPIS", "WatchLateSeconds", Kind::Gauge, "asn-watch"),
    ("CPIS", "JwksUnreachable", Kind::Count, "authorizer"),
    ("CPIS", "BudgetsUnread", Kind::Count, "flag-lookup"),
    ("CPIS", "AuditFindings", Kind::Count, "audit-ledger"),
    ("CPIS", "AccessesUncounted", Kind::Count, "audit-ledger"),
];

/// Metrics that are there every minute whatever happens, so that silence is itself a fault.
const STEADY: [&str; 6] = [
    "NoticesAgeSeconds",
    "OutboxOldestSeconds",
    "PushesOwedOldestSeconds",
    "WatchLateSeconds",
    "UnauditedOldestSeconds",
    "StatementAgeSeconds",
];

/// A metric with its dimensions as names and what they refer to.
struct Metric {
    namespace: String,
    name: String,
    dimensions: Vec<(String, String)>,
}

impl Metric {
    fn of_alarm(alarm: &Value) -> Self {
        let dimension = |d: &Value| (text(&d["Name"]).to_owned(), brief(&d["Value"]));
        let dimensions = items(&alarm["Dimensions"]).into_iter().map(dimension).collect();
        Self { namespace: brief(&alarm["Namespace"]), name: brief(&alarm["MetricName"]), dimensions }
    }

    /// A metric of a dashboard: `["AWS/Lambda", "Errors", "FunctionName", "${X}", {…}]`.
    fn of_widget(metric: &Value) -> Self {
        let words: Vec<_> = items(metric).into_iter().filter_map(Value::as_str).collect();
        let plain = |word: &str| word.trim_start_matches("${").trim_end_matches('}').to_owned();
        let dimensions = words[2..].chunks(2).map(|pair| (pair[0].to_owned(), plain(pair[1]))).collect();
        Self { namespace: words[0].to_owned(), name: words[1].to_owned(), dimensions }
    }

    fn kind(&self) -> Option<Kind> {
        METRICS
            .iter()
            .find(|(namespace, name, ..)| *namespace == self.namespace && *name == self.name)
            .map(|metric| metric.2)
    }

    /// Why there is no such metric; `None` if there is.
    fn wrong(&self, template: &Template) -> Option<String> {
        let Some((.., service)) = METRICS.iter().find(|m| m.0 == self.namespace && m.1 == self.name) else {
            return Some(format!("no metric {} in {}", self.name, self.namespace));
        };
        let is = |id: &str, kind: &str| template.0["Resources"][id]["Type"] == kind;
        let dimensions: Vec<_> = self.dimensions.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let exists = match (self.namespace.as_str(), dimensions.as_slice()) {
            ("AWS/SQS", [("QueueName", queue)]) => {
                queue.strip_suffix(".QueueName").is_some_and(|id| is(id, "AWS::SQS::Queue"))
            }
            ("AWS/Lambda", [("FunctionName", function)]) => is(function, "AWS::Serverless::Function"),
            ("AWS/Lambda", []) => self.name == "Throttles",
            ("AWS/ApiGateway", [("ApiName", api), ("Stage", stage)]) => {
                *api == brief(template.property("Api", "Name"))
                    && *stage == brief(template.property("Api", "StageName"))
            }
            ("CPIS", [("service", function)]) => {
                function == service && template.functions().iter().any(|f| f.name == *function)
            }
            _ => false,
        };
        (!exists).then(|| format!("{} of {} has no such dimensions: {dimensions:?}", self.name, self.namespace))
    }
}

fn alarms(template: &Template) -> Vec<(&str, &Value)> {
    template.of_type("AWS::CloudWatch::Alarm").into_iter().map(|(id, alarm)| (id, &alarm["Properties"])).collect()
}

/// Every alarm watches a metric that exists, with a statistic that says something about it.
pub(crate) fn metrics(template: &Template, findings: &mut Findings) {
    for (id, alarm) in alarms(template) {
        let metric = Metric::of_alarm(alarm);
        if let Some(wrong) = metric.wrong(template) {
            findings.expect(false, format!("{id}: {wrong}"));
        }
        let telling = match metric.kind() {
            Some(Kind::Count) => alarm["Statistic"] == "Sum",
            Some(Kind::Gauge) => alarm["Statistic"] == "Maximum",
            Some(Kind::Spread) => text(&alarm["ExtendedStatistic"]).starts_with('p'),
            None => false,
        };
        findings.expect(telling, format!("{id}: its statistic says nothing about {}", metric.name));
    }
}

/// Every alarm can fire, for want of data too where data never fail to come, and somebody hears it.
pub(crate) fn fire(template: &Template, findings: &mut Findings) {
    for (id, alarm) in alarms(template) {
        let metric = Metric::of_alarm(alarm);
        findings.expect(alarm["ComparisonOperator"] == "GreaterThanThreshold", format!("{id} fires when all is well"));
        let threshold = number(template, &alarm["Threshold"]).unwrap_or(i64::MAX);
        findings
            .expect((0..reach(template, &metric)).contains(&threshold), format!("{id} can never reach {threshold}"));
        let [period, periods] = ["Period", "EvaluationPeriods"].map(|key| alarm[key].as_i64().unwrap_or_default());
        let needed = alarm["DatapointsToAlarm"].as_i64().unwrap_or(periods);
        findings
            .expect(period >= 60 && period % 60 == 0, format!("{id}: AWS measures by the minute, not by {period} s"));
        findings.expect(
            (1..=periods).contains(&needed) && period * periods <= 900,
            format!("{id} takes more than 15 minutes to fire"),
        );
        let silence = if STEADY.contains(&metric.name.as_str()) { "breaching" } else { "notBreaching" };
        findings.same(&format!("{id} without data"), text(&alarm["TreatMissingData"]), silence);
        findings.expect(alarm["ActionsEnabled"] != false, format!("{id} is switched off"));
        findings.same(&format!("{id} tells"), &alarm["AlarmActions"], &json!([{"Ref": "AlarmTopic"}]));
        findings.expect(text(&alarm["AlarmDescription"]).len() > 15, format!("{id} does not say what it means"));
    }
    heard(template, findings);
}

/// What the metric could come to at most; in its own unit.
fn reach(template: &Template, metric: &Metric) -> i64 {
    let subject = metric.dimensions.first().map_or("", |(_, value)| value.split('.').next().unwrap_or_default());
    let within = |pointer: &str| template.property(subject, pointer).as_i64().unwrap_or_default();
    match metric.name.as_str() {
        "ApproximateAgeOfOldestMessage" => within("MessageRetentionPeriod"),
        "Duration" => within("Timeout") * 1000 + 1,
        "IteratorAge" => {
            let ages = template.events("DynamoDB");
            ages.iter().filter_map(|(_, event)| event["MaximumRecordAgeInSeconds"].as_i64()).max().unwrap_or_default()
                * 1000
        }
        "OutboxOldestSeconds" | "PushesOwedOldestSeconds" | "WatchLateSeconds" | "UnauditedOldestSeconds" => 3600,
        // Looked for every day: the third that is missed.
        "NoticesAgeSeconds" => 3 * 24 * 3600,
        // Stated every hour: the third that is missed.
        "StatementAgeSeconds" => 3 * 3600,
        _ => 10,
    }
}

/// CloudWatch may publish to the topic and use the key that encrypts it.
fn heard(template: &Template, findings: &mut Findings) {
    let by_cloudwatch = |statements: &Value, action: &str| {
        items(statements).into_iter().any(|s| {
            s["Effect"] == "Allow"
                && s["Principal"]["Service"] == "cloudwatch.amazonaws.com"
                && items(&s["Action"]).iter().any(|a| **a == action)
        })
    };
    let publish = by_cloudwatch(template.property("AlarmTopicPolicy", "PolicyDocument/Statement"), "sns:Publish");
    findings.expect(publish, "alarms may not publish to their topic");
    findings.same("key of the topic", brief(template.property("AlarmTopic", "KmsMasterKeyId")), "DataKey".to_owned());
    for action in ["kms:Decrypt", "kms:GenerateDataKey"] {
        findings.expect(
            by_cloudwatch(template.property("DataKey", "KeyPolicy/Statement"), action),
            format!("alarms lack {action} for their topic"),
        );
    }
    let mail = template.property("AlarmSubscription", "TopicArn");
    findings.expect(brief(mail) == "AlarmTopic", "nobody can be written to");
}

/// There is an alarm for each way in which a notification, an answer or the service can fail.
pub(crate) fn coverage(template: &Template, findings: &mut Findings) {
    let dead = dead_letter_queues(template);
    let mut wanted = vec![];
    for (queue, _) in template.of_type("AWS::SQS::Queue") {
        let metric =
            if dead.contains(queue) { "ApproximateNumberOfMessagesVisible" } else { "ApproximateAgeOfOldestMessage" };
        wanted.push((metric, format!("{queue}.QueueName")));
    }
    // A refused token is an error of the authorizer: that is how API Gateway wants to be told 401.
    let failing = template.functions().into_iter().filter(|f| f.id != "AuthorizerFunction");
    wanted.extend(failing.map(|f| ("Errors", f.id.to_owned())));
    wanted.extend(
        [
            ("IteratorAge", "AsnRelayFunction"),
            ("IteratorAge", "AuditLedgerFunction"),
            ("Duration", "FlagLookupFunction"),
        ]
        .map(|(m, f)| (m, f.to_owned())),
    );
    wanted.extend(
        [
            ("OutboxOldestSeconds", "asn-relay"),
            ("UnauditedOldestSeconds", "audit-ledger"),
            ("StatementAgeSeconds", "audit-ledger"),
            ("DeliverySetAside", "asn-delivery"),
            ("PushesOwedOldestSeconds", "asn-push"),
            ("PushSetAside", "asn-push"),
            ("ReceiverRested", "asn-push"),
            ("MeshUnreachable", "asn-push"),
            ("MailboxUnreadable", "asn-mailbox"),
            ("NotificationsEscalated", "asn-watch"),
            ("WatchLateSeconds", "asn-watch"),
            ("JwksUnreachable", "authorizer"),
            ("BudgetsUnread", "flag-lookup"),
            ("AuditFindings", "audit-ledger"),
            ("AccessesUncounted", "audit-ledger"),
            ("Throttles", ""),
        ]
        .map(|(m, s)| (m, s.to_owned())),
    );
    wanted.push(("5XXError", brief(template.property("Api", "Name"))));
    let watched = |alarm: &Value| {
        let metric = Metric::of_alarm(alarm);
        (metric.name, metric.dimensions.into_iter().next().map(|(_, value)| value).unwrap_or_default())
    };
    let found: Vec<_> = alarms(template).into_iter().map(|(_, alarm)| watched(alarm)).collect();
    for (metric, subject) in wanted {
        findings
            .expect(found.contains(&(metric.to_owned(), subject.clone())), format!("no alarm on {metric} {subject}"));
    }
}

/// The dashboard is JSON, shows every alarm, every function and every dead-letter queue, and plots only metrics that exist.
pub(crate) fn dashboard(template: &Template, findings: &mut Findings) {
    let body = text(&template.property("Dashboard", "DashboardBody")["Fn::Sub"]);
    let Ok(board) = body.parse::<Value>() else {
        return findings.expect(false, "the dashboard is not JSON");
    };
    for name in body.split("${").skip(1).filter_map(|rest| rest.split(['}', '.']).next()) {
        findings.expect(template.defines(name), format!("the dashboard refers to {name}"));
    }
    for metric in items(&board["widgets"]).iter().flat_map(|widget| items(&widget["properties"]["metrics"])) {
        if let Some(wrong) = Metric::of_widget(metric).wrong(template) {
            findings.expect(false, format!("dashboard: {wrong}"));
        }
    }
    let shown: Vec<_> =
        items(&board["widgets"]).into_iter().flat_map(|w| items(&w["properties"]["alarms"])).map(text).collect();
    for (id, _) in alarms(template) {
        findings
            .expect(shown.contains(&format!("${{{id}.Arn}}").as_str()), format!("the dashboard does not show {id}"));
    }
    let plotted = |metric: &str, subject: &str| body.contains(&format!("\"{metric}\",\"{subject}"));
    for function in template.functions() {
        for metric in ["Errors", "Invocations", "ConcurrentExecutions", "Throttles"] {
            let subject = format!("FunctionName\",\"${{{}}}", function.id);
            findings.expect(plotted(metric, &subject), format!("the dashboard lacks {metric} of {}", function.id));
        }
    }
    for queue in dead_letter_queues(template) {
        let subject = format!("QueueName\",\"${{{queue}.QueueName}}");
        let plotted = plotted("ApproximateNumberOfMessagesVisible", &subject);
        findings.expect(plotted, format!("the dashboard lacks {queue}"));
    }
}

//! The API: its routes, who may call them, its limits, its own answers and what it writes down.

use serde_json::{Value, json};

use crate::model::{Findings, Template, attribute_of, brief, items, members, text};

/// Function, method and path; `open` if no token is needed.
const ROUTES: [(&str, &str, &str, bool); 23] = [
    ("asn-mailbox", "GET", "/cpis/authorities/{gss}/notifications", false),
    ("asn-mailbox", "GET", "/cpis/authorities/{gss}/notifications/ageing", false),
    ("asn-mailbox", "GET", "/cpis/authorities/{gss}/reading", false),
    ("asn-mailbox", "GET", "/cpis/authorities/{gss}/ways", false),
    ("asn-mailbox", "GET", "/cpis/receipts/{child}/{access}", false),
    ("asn-mailbox", "POST", "/cpis/authorities/{gss}/notifications/{id}/acknowledge", false),
    ("asn-mailbox", "POST", "/cpis/authorities/{gss}/notifications/{id}/action", false),
    ("asn-mailbox", "PUT", "/cpis/authorities/{gss}/reading", false),
    ("audit-search", "POST", "/cpis/audit/accesses/_search", false),
    ("flag-lookup", "GET", "/cpis/FHIR/R4/AuditEvent", false),
    ("flag-lookup", "GET", "/cpis/FHIR/R4/CareTeam", false),
    ("flag-lookup", "GET", "/cpis/FHIR/R4/Flag", false),
    ("flag-lookup", "GET", "/cpis/FHIR/R4/metadata", false),
    ("flag-lookup", "POST", "/cpis/FHIR/R4/AuditEvent/_search", false),
    ("flag-lookup", "POST", "/cpis/FHIR/R4/CareTeam/_search", false),
    ("flag-lookup", "POST", "/cpis/FHIR/R4/Flag/_search", false),
    ("plan-reconcile", "GET", "/cpis/authorities/{gss}/plans", false),
    ("plan-reconcile", "GET", "/cpis/authorities/{gss}/uploads", false),
    ("plan-reconcile", "GET", "/cpis/authorities/{gss}/uploads/{sequence}", false),
    ("plan-upload", "POST", "/cpis/authorities/{gss}/plans", false),
    ("plan-upload", "POST", "/cpis/authorities/{gss}/uploads", false),
    ("service-status", "GET", "/_ping", true),
    ("service-status", "GET", "/_status", true),
];

/// What may be written of a request: nothing of its query, its path as called, its headers or its token.
const LOGGED: [&str; 12] = [
    "requestId",
    "httpMethod",
    "resourcePath",
    "status",
    "error.responseType",
    "authorizer.status",
    "identity.sourceIp",
    "responseLength",
    "responseLatency",
    "integrationLatency",
    "requestTimeEpoch",
    "requestTime",
];

/// What the gateway answers by itself: which, and its status where we set it.
const ANSWERS: [(&str, Option<i64>); 12] = [
    ("ACCESS_DENIED", Some(403)),
    ("AUTHORIZER_FAILURE", Some(503)),
    ("DEFAULT_4XX", None),
    ("DEFAULT_5XX", None),
    ("INTEGRATION_FAILURE", Some(503)),
    ("INTEGRATION_TIMEOUT", Some(503)),
    ("MISSING_AUTHENTICATION_TOKEN", Some(404)),
    ("QUOTA_EXCEEDED", Some(429)),
    ("REQUEST_TOO_LARGE", Some(413)),
    ("THROTTLED", Some(429)),
    ("UNAUTHORIZED", Some(401)),
    ("WAF_FILTERED", Some(403)),
];

/// The codes of FHIR R4's value set issue-type that the gateway has use for.
const ISSUE_TYPES: [&str; 9] =
    ["login", "forbidden", "not-found", "too-long", "throttled", "transient", "timeout", "invalid", "exception"];

/// The routes are those of the contract; only `_ping` and `_status` are open.
pub(crate) fn routes(template: &Template, findings: &mut Findings) {
    let events = template.events("Api");
    let route = |(function, event): &(&'_ str, &'_ Value)| {
        (
            function.to_string(),
            text(&event["Method"]).to_owned(),
            text(&event["Path"]).to_owned(),
            event["Auth"]["Authorizer"] == "NONE",
        )
    };
    let mut found: Vec<_> = events.iter().map(route).collect();
    found.sort();
    let wanted =
        ROUTES.map(|(function, method, path, open)| (function.to_owned(), method.to_owned(), path.to_owned(), open));
    findings.same("routes", found, wanted.to_vec());
    for (function, event) in events {
        findings.expect(brief(&event["RestApiId"]) == "Api", format!("a route of {function} is in an API of its own"));
        let plain = event["Auth"].is_null() || event["Auth"] == json!({"Authorizer": "NONE"});
        findings.expect(plain, format!("a route of {function} is guarded in its own way"));
    }
}

/// Whoever is not exempt is checked by our authorizer, again after half a minute at the latest.
pub(crate) fn authorizer(template: &Template, findings: &mut Findings) {
    let auth = template.property("Api", "Auth");
    let authorizer = &auth["Authorizers"][text(&auth["DefaultAuthorizer"])];
    findings.expect(
        attribute_of(&authorizer["FunctionArn"], "Arn") == Some("AuthorizerFunction"),
        "the default authorizer is not ours",
    );
    findings.same("authorizer payload", text(&authorizer["FunctionPayloadType"]), "REQUEST");
    let identity = json!({"Headers": ["Authorization"], "ReauthorizeEvery": 30});
    findings.same("authorizer identity", &authorizer["Identity"], &identity);
}

/// Requests are limited, and compressed bodies arrive as bytes.
pub(crate) fn limits(template: &Template, findings: &mut Findings) {
    let settings = items(template.property("Api", "MethodSettings"));
    findings.expect(settings.len() == 1, "some methods have settings of their own");
    for setting in settings {
        findings.same("settings", (text(&setting["ResourcePath"]), text(&setting["HttpMethod"])), ("/*", "*"));
        let limits = ["ThrottlingRateLimit", "ThrottlingBurstLimit"].map(|key| brief(&setting[key]));
        findings.same("limits", limits, ["RequestsPerSecond", "RequestBurst"].map(str::to_owned));
        findings.expect(setting["MetricsEnabled"] == true, "no metrics of methods");
    }
    findings.same("bytes", template.property("Api", "BinaryMediaTypes"), &json!(["application/gzip"]));
    let default = template.0["Parameters"]["RequestsPerSecond"]["Default"].as_i64();
    findings.expect(default >= Some(1500), "fewer requests a second than the NHS's own APIs take");
}

/// Nothing that holds a query, which may hold an NHS number, is written down by the gateway.
pub(crate) fn privacy(template: &Template, findings: &mut Findings) {
    let format = text(template.property("Api", "AccessLogSetting/Format"));
    findings
        .expect(format.parse::<Value>().is_ok_and(|line| line["event"] == "api.request"), "the access log is not JSON");
    for variable in format.split("$context.").skip(1).filter_map(|rest| rest.split('"').next()) {
        findings.expect(LOGGED.contains(&variable), format!("the access log holds {variable}"));
    }
    findings.expect(!format.contains("$input") && !format.contains("$stageVariables"), "the access log holds input");
    let log = template.property("Api", "AccessLogSetting/DestinationArn");
    findings.expect(attribute_of(log, "Arn") == Some("ApiLog"), "the access log goes elsewhere");
    for setting in items(template.property("Api", "MethodSettings")) {
        findings.expect(setting["DataTraceEnabled"] == false, "bodies are traced");
        findings.expect(setting["LoggingLevel"] == "OFF", "execution logs hold queries and headers");
    }
    findings.expect(template.property("Api", "TracingEnabled") == false, "traces of the stage hold whole URLs");
}

/// What the gateway refuses by itself is an OperationOutcome, and says when to come back.
pub(crate) fn answers(template: &Template, findings: &mut Findings) {
    let answers = template.property("Api", "GatewayResponses");
    let found: Vec<_> = members(answers).map(|(name, answer)| (name, answer["StatusCode"].as_i64())).collect();
    findings.same("answers of the gateway", found, ANSWERS.to_vec());
    for (name, answer) in members(answers) {
        let headers = &answer["ResponseParameters"]["Headers"];
        findings.same(&format!("{name} type"), text(&headers["Content-Type"]), "'application/fhir+json'");
        let busy = matches!(answer["StatusCode"].as_i64(), Some(429 | 503));
        let seconds = text(&headers["Retry-After"]).trim_matches('\'').parse::<u32>();
        findings.expect(!busy || seconds.is_ok_and(|s| s > 0), format!("{name} does not say when to try again"));
        let body: Value = text(&answer["ResponseTemplates"]["application/json"]).parse().unwrap_or_default();
        let issue = &body["issue"][0];
        findings.same(&format!("{name} body"), text(&body["resourceType"]), "OperationOutcome");
        findings.expect(
            issue["severity"] == "error" && ISSUE_TYPES.contains(&text(&issue["code"])),
            format!("{name}: {issue}"),
        );
        let coding = &issue["details"]["coding"][0];
        findings.same(&format!("{name} codes"), text(&coding["system"]), cpis::wire::fhir::SPINE_CODES);
        findings.expect(
            !text(&coding["code"]).is_empty() && !text(&issue["diagnostics"]).is_empty(),
            format!("{name} says nothing"),
        );
    }
}

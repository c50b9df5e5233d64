//! What stands before the API where it is asked for: its own name, mutual TLS, the firewall, the usage plan.

use serde_json::{Value, json};

use crate::model::{Findings, Template, brief, items, members, text};

/// The rule groups of AWS that the firewall has, each with its rules that judge what a caller may well send: bodies, which are
/// files of children; URLs in a query, by which FHIR names systems; a missing user agent. AWS WAF, "Baseline rule groups".
const GROUPS: [(&str, &[&str]); 3] = [
    ("AWSManagedRulesAmazonIpReputationList", &[]),
    ("AWSManagedRulesKnownBadInputsRuleSet", &["JavaDeserializationRCE_BODY", "Log4JRCE_BODY", "ReactJSRCE_BODY"]),
    (
        "AWSManagedRulesCommonRuleSet",
        &[
            "SizeRestrictions_BODY",
            "CrossSiteScripting_BODY",
            "GenericLFI_BODY",
            "GenericRFI_BODY",
            "EC2MetaDataSSRF_BODY",
            "GenericRFI_QUERYARGUMENTS",
            "NoUserAgent_HEADER",
        ],
    ),
];

fn if_else(condition: &str, so: &Value, otherwise: &Value) -> Value {
    json!({"Fn::If": [condition, so, otherwise]})
}

/// The condition of a resource is that its parameter is given, and by default it is not.
fn asked_for(template: &Template, id: &str, condition: &str, findings: &mut Findings) {
    findings.same(&format!("{id} condition"), text(&template.0["Resources"][id]["Condition"]), condition);
}

/// With mutual TLS there is one way in, which asks for a certificate (R65).
pub(crate) fn mutual_tls(template: &Template, findings: &mut Findings) {
    let none = json!({"Ref": "AWS::NoValue"});
    for id in ["ApiDomain", "ApiDomainMapping"] {
        asked_for(template, id, "HasDomain", findings);
    }
    for (condition, parameter) in [
        ("HasDomain", "ApiDomainName"),
        ("UsesMutualTls", "TruststoreUri"),
        ("HasTruststoreVersion", "TruststoreVersion"),
    ] {
        let given = json!({"Fn::Not": [{"Fn::Equals": [{"Ref": parameter}, ""]}]});
        findings.same(condition, &template.0["Conditions"][condition], &given);
        findings.same(parameter, &template.0["Parameters"][parameter]["Default"], &json!(""));
    }
    let version = if_else("HasTruststoreVersion", &json!({"Ref": "TruststoreVersion"}), &none);
    let wanted = json!({"TruststoreUri": {"Ref": "TruststoreUri"}, "TruststoreVersion": version});
    findings.same(
        "mutual TLS",
        template.property("ApiDomain", "MutualTlsAuthentication"),
        &if_else("UsesMutualTls", &wanted, &none),
    );
    findings.same("oldest TLS", text(template.property("ApiDomain", "SecurityPolicy")), "TLS_1_2");
    let off = if_else("UsesMutualTls", &json!(true), &json!(false));
    findings.same("other way in", template.property("Api", "DisableExecuteApiEndpoint"), &off);
    findings.expect(template.property("Api", "AlwaysDeploy") == true, "closing the other way in is not deployed");
    let mapped = ["DomainName", "RestApiId", "Stage"].map(|key| brief(template.property("ApiDomainMapping", key)));
    findings.same("mapping", mapped, ["ApiDomain", "Api", "Api.Stage"].map(str::to_owned));
    let rule = &template.0["Rules"]["DomainIsWhole"];
    let named = |part: &str, parameters: &[&str]| {
        let words = rule[part].to_string();
        parameters.iter().all(|p| words.contains(&format!("\"{p}\"")))
    };
    findings.expect(
        named("RuleCondition", &["ApiDomainName", "ApiCertificateArn", "TruststoreUri"])
            && named("Assertions", &["ApiDomainName", "ApiCertificateArn"]),
        "a truststore without a domain is taken, and guards nothing",
    );
    let url = &template.0["Outputs"]["ApiUrl"]["Value"]["Fn::If"];
    findings.same("address", (text(&url[0]), brief(&url[1])), ("HasDomain", "https://${ApiDomainName}".to_owned()));
}

/// The firewall is in front of the stage where it is asked for, refuses nothing that a caller may well send (R66).
pub(crate) fn firewall(template: &Template, findings: &mut Findings) {
    for id in ["Firewall", "FirewallAssociation", "FirewallLog", "FirewallLogging"] {
        asked_for(template, id, "UsesFirewall", findings);
    }
    let mode = &template.0["Parameters"]["WebFirewall"];
    findings.same(
        "firewall",
        (&mode["Default"], &mode["AllowedValues"]),
        (&json!("off"), &json!(["off", "count", "block"])),
    );
    let conditions = ["UsesFirewall", "FirewallBlocks"].map(|name| &template.0["Conditions"][name]);
    let is = |value: &str| json!({"Fn::Equals": [{"Ref": "WebFirewall"}, value]});
    findings.same("firewall conditions", conditions, [&json!({"Fn::Not": [is("off")]}), &is("block")]);
    findings.same("firewall default", template.property("Firewall", "DefaultAction"), &json!({"Allow": {}}));
    let stage = "arn:${AWS::Partition}:apigateway:${AWS::Region}::/restapis/${Api}/stages/${Api.Stage}";
    findings.same("guarded", brief(template.property("FirewallAssociation", "ResourceArn")), stage.to_owned());
    findings.same("guard", brief(template.property("FirewallAssociation", "WebACLArn")), "Firewall.Arn".to_owned());
    let rules = items(template.property("Firewall", "Rules"));
    let mut groups = vec![];
    for rule in &rules {
        let name = text(&rule["Name"]);
        let group = &rule["Statement"]["ManagedRuleGroupStatement"];
        if group.is_null() {
            one_address(rule, findings);
            continue;
        }
        let counted: Vec<_> = items(&group["RuleActionOverrides"])
            .into_iter()
            .filter(|o| o["ActionToUse"] == json!({"Count": {}}))
            .map(|o| text(&o["Name"]))
            .collect();
        groups.push((text(&group["Name"]), counted));
        let action = if_else("FirewallBlocks", &json!({"None": {}}), &json!({"Count": {}}));
        findings.same(&format!("{name} action"), &rule["OverrideAction"], &action);
    }
    findings.same("rule groups", groups, GROUPS.iter().map(|(name, counted)| (*name, counted.to_vec())).collect());
    findings.expect(rules.len() == GROUPS.len() + 1, "the firewall has rules that nobody thought through");
}

fn one_address(rule: &Value, findings: &mut Findings) {
    let rate =
        json!({"Limit": {"Ref": "FirewallRequestsPerAddress"}, "EvaluationWindowSec": 300, "AggregateKeyType": "IP"});
    findings.same("rate", &rule["Statement"]["RateBasedStatement"], &rate);
    let choice = &rule["Action"]["Fn::If"];
    let answer = &choice[1]["Block"]["CustomResponse"];
    findings.same("rate action", (text(&choice[0]), &choice[2]), ("FirewallBlocks", &json!({"Count": {}})));
    findings.same("rate answer", &answer["ResponseCode"], &json!(429));
    findings.expect(answer["ResponseHeaders"][0]["Name"] == "Retry-After", "a flood is not told when to come back");
}

/// Nothing that the firewall keeps holds a query, a body, a path or a token (R66).
pub(crate) fn firewall_privacy(template: &Template, findings: &mut Findings) {
    let everywhere = items(template.property("Firewall", "Rules")).into_iter().map(|rule| &rule["VisibilityConfig"]);
    for seen in everywhere.chain([template.property("Firewall", "VisibilityConfig")]) {
        findings.expect(seen["SampledRequestsEnabled"] == false, "samples of requests hold URLs and headers");
    }
    let hidden: Vec<_> = items(template.property("Firewall", "DataProtectionConfig/DataProtections"))
        .into_iter()
        .filter(|p| p["Action"] == "SUBSTITUTION")
        .map(|p| (text(&p["Field"]["FieldType"]), p["Field"]["FieldKeys"].clone()))
        .collect();
    let wanted =
        vec![("QUERY_STRING", Value::Null), ("BODY", Value::Null), ("SINGLE_HEADER", json!(["authorization"]))];
    findings.same("hidden by the firewall", hidden, wanted);
    let redacted = json!([{"UriPath": {}}, {"QueryString": {}}, {"SingleHeader": {"Name": "authorization"}}]);
    findings.same("left out of its log", template.property("FirewallLogging", "RedactedFields"), &redacted);
    let log = &template.property("FirewallLogging", "LogDestinationConfigs")[0];
    findings.expect(brief(log).ends_with(":log-group:${FirewallLog}"), "the firewall logs elsewhere");
    let name = brief(template.property("FirewallLog", "LogGroupName"));
    findings.same("name of its log", name.as_str(), "aws-waf-logs-${AWS::StackName}");
    let readers = template.property("DataKey", "KeyPolicy/Statement").to_string();
    findings.expect(readers.contains(&format!(":log-group:{name}\"")), "the firewall's log cannot use our key");
}

/// The usage plan is on the stage, with the stage's own limits and room for a busy day.
pub(crate) fn usage_plan(template: &Template, findings: &mut Findings) {
    let stage = json!([{"ApiId": {"Ref": "Api"}, "Stage": {"Ref": "Api.Stage"}}]);
    findings.same("usage plan", template.property("UsagePlan", "ApiStages"), &stage);
    let limits = ["Throttle/RateLimit", "Throttle/BurstLimit", "Quota/Limit", "Quota/Period"];
    let found = limits.map(|limit| brief(template.property("UsagePlan", limit)));
    findings.same(
        "limits of the plan",
        found,
        ["RequestsPerSecond", "RequestBurst", "RequestsPerDay", "DAY"].map(str::to_owned),
    );
    // Ten times the look-ups of a month from emergency departments alone.
    let quota = template.0["Parameters"]["RequestsPerDay"]["Default"].as_i64();
    findings.expect(quota >= Some(3_150_000), "the quota could lock an emergency department out");
    let keyed = template.events("Api").into_iter().any(|(_, event)| !event["Auth"]["ApiKeyRequired"].is_null());
    let all = members(template.property("Api", "Auth")).any(|(name, _)| name == "ApiKeyRequired");
    findings.expect(!keyed && !all, "a caller is known by the token: an API key besides would shut out who has none");
}

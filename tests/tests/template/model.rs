//! `template.yaml` as JSON, with CloudFormation's short forms (`!Ref x`) written out (`{"Ref": "x"}`).

use serde_json::{Value, json};
use serde_yaml_ng::Value as Yaml;

/// The parsed template.
pub(crate) struct Template(pub(crate) Value);

/// A function by the name under which its code is packaged (`plan-upload`).
pub(crate) struct Function<'a> {
    pub(crate) name: &'a str,
    pub(crate) id: &'a str,
    pub(crate) properties: &'a Value,
}

/// What a check found, one line each; none if all is well.
#[derive(Default)]
pub(crate) struct Findings(pub(crate) Vec<String>);

impl Findings {
    /// Notes what should be so and is not.
    pub(crate) fn expect(&mut self, so: bool, what: impl Into<String>) {
        if !so {
            self.0.push(what.into());
        }
    }

    /// Notes a difference.
    pub(crate) fn same<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, found: T, wanted: T) {
        self.expect(found == wanted, format!("{what}: {found:?}, which should be {wanted:?}"));
    }
}

impl Template {
    /// The template that is deployed.
    pub(crate) fn load() -> Self {
        let text = include_str!("../../../template.yaml");
        Self(to_json(serde_yaml_ng::from_str(text).expect("template.yaml is YAML")))
    }

    /// Resources of a type: logical id and body.
    pub(crate) fn of_type(&self, kind: &str) -> Vec<(&str, &Value)> {
        members(&self.0["Resources"]).filter(|(_, body)| body["Type"] == kind).collect()
    }

    /// A property of a resource by JSON pointer; `Null` if there is none.
    pub(crate) fn property(&self, id: &str, pointer: &str) -> &Value {
        self.0["Resources"][id].pointer(&format!("/Properties/{pointer}")).unwrap_or(&Value::Null)
    }

    /// All functions.
    pub(crate) fn functions(&self) -> Vec<Function<'_>> {
        self.of_type("AWS::Serverless::Function")
            .into_iter()
            .map(|(id, body)| Function { name: package(body), id, properties: &body["Properties"] })
            .collect()
    }

    /// The events of a type: the name of the function and the properties of the event.
    pub(crate) fn events(&self, kind: &str) -> Vec<(&str, &Value)> {
        let all =
            self.functions().into_iter().flat_map(|f| members(&f.properties["Events"]).map(move |(_, e)| (f.name, e)));
        all.filter(|(_, event)| event["Type"] == kind).map(|(name, event)| (name, &event["Properties"])).collect()
    }

    /// Whether the name can be referred to: a resource, a parameter or a pseudo parameter.
    pub(crate) fn defines(&self, name: &str) -> bool {
        !self.0["Resources"][name].is_null() || !self.0["Parameters"][name].is_null() || name.starts_with("AWS::")
    }
}

/// What is in it outlives the stack, and a change of the template that makes a new one.
pub(crate) fn retained(template: &Template, id: &str, findings: &mut Findings) {
    for policy in ["DeletionPolicy", "UpdateReplacePolicy"] {
        findings.expect(template.0["Resources"][id][policy] == "Retain", format!("{id} is not retained ({policy})"));
    }
}

/// `plan-upload` of `target/lambda/plan-upload/`.
fn package(function: &Value) -> &str {
    text(&function["Properties"]["CodeUri"]).trim_end_matches('/').rsplit('/').next().unwrap_or_default()
}

/// The members of an object.
pub(crate) fn members(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flatten().map(|(key, value)| (key.as_str(), value))
}

/// The items of an array, or the one value that stands where an array may.
pub(crate) fn items(value: &Value) -> Vec<&Value> {
    match value {
        Value::Null => vec![],
        Value::Array(items) => items.iter().collect(),
        one => vec![one],
    }
}

/// A string; empty if it is anything else.
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A whole number; of a parameter, what it may be at most.
pub(crate) fn number(template: &Template, value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| template.0["Parameters"][text(&value["Ref"])]["MaxValue"].as_i64())
}

/// What a value refers to: `X` for `!Ref X`, `X.Arn` for `!GetAtt X.Arn`, else its text.
pub(crate) fn brief(value: &Value) -> String {
    match (&value["Ref"], &value["Fn::GetAtt"], &value["Fn::Sub"]) {
        (Value::String(name), ..) => name.clone(),
        (_, Value::Array(path), _) => path.iter().map(text).collect::<Vec<_>>().join("."),
        (.., Value::String(pattern)) => pattern.clone(),
        _ => value.as_str().map_or_else(|| value.to_string(), str::to_owned),
    }
}

/// Resource and action of all that a role allows.
pub(crate) fn granted(template: &Template, role: &str) -> impl Iterator<Item = (String, String)> {
    let policies = items(template.property(role, "Policies")).into_iter();
    let statements =
        policies.flat_map(|policy| items(&policy["PolicyDocument"]["Statement"])).filter(|s| s["Effect"] == "Allow");
    statements.flat_map(|statement| pairs(statement).into_iter().map(|(action, resource)| (resource, action)))
}

/// Every action with every resource of a statement.
pub(crate) fn pairs(statement: &Value) -> Vec<(String, String)> {
    let resources = items(&statement["Resource"]);
    items(&statement["Action"])
        .into_iter()
        .flat_map(|a| resources.iter().map(move |r| (text(a).to_owned(), brief(r))))
        .collect()
}

/// The logical id of `!GetAtt <id>.<attribute>`.
pub(crate) fn attribute_of<'a>(value: &'a Value, attribute: &str) -> Option<&'a str> {
    let path = &value["Fn::GetAtt"];
    (path[1] == attribute).then(|| text(&path[0]))
}

fn to_json(yaml: Yaml) -> Value {
    match yaml {
        Yaml::Null => Value::Null,
        Yaml::Bool(flag) => flag.into(),
        Yaml::Number(number) => number.as_i64().map_or_else(|| json!(number.as_f64()), Value::from),
        Yaml::String(text) => text.into(),
        Yaml::Sequence(items) => items.into_iter().map(to_json).collect(),
        Yaml::Mapping(members) => {
            members.into_iter().map(|(key, value)| (brief(&to_json(key)), to_json(value))).collect()
        }
        Yaml::Tagged(tagged) => long_form(&tagged.tag.to_string(), to_json(tagged.value)),
    }
}

fn long_form(tag: &str, value: Value) -> Value {
    match (tag.trim_start_matches('!'), &value) {
        ("Ref", _) => json!({ "Ref": value }),
        ("GetAtt", Value::String(path)) => json!({ "Fn::GetAtt": path.splitn(2, '.').collect::<Vec<_>>() }),
        (name, _) => Value::Object([(format!("Fn::{name}"), value)].into_iter().collect()),
    }
}

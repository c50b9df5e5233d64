//! Requests as API Gateway hands them on (REST API), to a function or to its authorizer, read leniently: whatever a caller may put into
//! a header or a query must end as an answer, never as an event that cannot be read (R63).
//!
//! `lambda_http` is not used for this: it refuses the whole event for one header that is not ASCII, keeps only the last of
//! repeated headers, and panics on a host that makes no URL.

use std::fmt;

use lambda_http::{
    aws_lambda_events::apigw::ApiGatewayProxyResponse,
    http::{HeaderMap, HeaderName, HeaderValue},
};
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};
use uuid::Uuid;

/// What the authorizer is asked (a REQUEST authorizer of a REST API).
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuthorizerEvent {
    /// The method that is to be called, as an ARN.
    #[serde(default)]
    pub method_arn: Option<String>,
    #[serde(default)]
    headers: Pairs,
    #[serde(default)]
    multi_value_headers: Pairs,
    #[serde(default)]
    request_context: Option<RequestContext>,
}

impl AuthorizerEvent {
    /// The gateway's id of the request, where it has the form of one: callers may set it.
    #[must_use]
    pub fn request_id(&self) -> Option<Uuid> {
        self.request_context.as_ref()?.id()
    }

    /// A header that holds a UUID in its one usual form.
    #[must_use]
    pub fn uuid_header(&self, name: &str) -> Option<Uuid> {
        uuid(self.header(name)?.as_bytes())
    }

    /// A header's value; `None` where it is absent or there is more than one (R60).
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let named = |(other, _): &(&str, &str)| other.eq_ignore_ascii_case(name);
        let mut values =
            merged(&self.multi_value_headers, &self.headers, |a, b| a.eq_ignore_ascii_case(b)).filter(named);
        let (_, value) = values.next()?;
        values.next().is_none().then_some(value)
    }
}

/// The event of a function, Lambda proxy integration.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ProxyEvent {
    pub(super) http_method: String,
    pub(super) path: String,
    #[serde(default)]
    headers: Pairs,
    #[serde(default)]
    multi_value_headers: Pairs,
    #[serde(default)]
    query_string_parameters: Pairs,
    #[serde(default)]
    multi_value_query_string_parameters: Pairs,
    #[serde(default)]
    pub(super) body: Option<String>,
    #[serde(default)]
    pub(super) is_base64_encoded: bool,
    #[serde(default)]
    request_context: Option<RequestContext>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext {
    #[serde(default)]
    authorizer: Option<Map<String, Value>>,
    #[serde(default)]
    request_id: Option<String>,
}

impl RequestContext {
    fn id(&self) -> Option<Uuid> {
        uuid(self.request_id.as_ref()?.as_bytes())
    }
}

/// A UUID in its one usual form (RFC 9562 section 4): 36 characters, nothing around them.
pub(super) fn uuid(text: &[u8]) -> Option<Uuid> {
    Uuid::try_parse_ascii(text).ok().filter(|_| text.len() == 36)
}

/// Names and values, in the event's order; a name may stand there with several values.
#[derive(Debug, Default)]
struct Pairs(Vec<(String, String)>);

impl ProxyEvent {
    /// Every header with all its values; `None` where one cannot be a header at all.
    pub(super) fn header_map(&self) -> Option<HeaderMap> {
        let mut map = HeaderMap::new();
        for (name, value) in merged(&self.multi_value_headers, &self.headers, |a, b| a.eq_ignore_ascii_case(b)) {
            // Bytes beyond ASCII are a header's right (RFC 9110 section 5.5); control characters are not.
            let (name, value) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value.as_bytes()));
            map.append(name.ok()?, value.ok()?);
        }
        Some(map)
    }

    /// Every parameter of the query with all its values, decoded.
    pub(super) fn query(&self) -> Vec<(String, String)> {
        merged(&self.multi_value_query_string_parameters, &self.query_string_parameters, |a, b| a == b)
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    /// The gateway's id of the request, where it has the form of one: callers may set it.
    pub(super) fn request_id(&self) -> Option<Uuid> {
        self.request_context.as_ref()?.id()
    }

    /// What the authorizer passed on under a name.
    pub(super) fn authorizer(&self, name: &str) -> Option<&str> {
        self.request_context.as_ref()?.authorizer.as_ref()?.get(name)?.as_str()
    }
}

/// All values, and the single ones of names that have no others.
fn merged<'a>(
    all: &'a Pairs,
    single: &'a Pairs,
    same: impl Fn(&str, &str) -> bool + 'a,
) -> impl Iterator<Item = (&'a str, &'a str)> {
    let lacking = single.0.iter().filter(move |(name, _)| !all.0.iter().any(|(other, _)| same(name, other)));
    all.0.iter().chain(lacking).map(|(name, value)| (name.as_str(), value.as_str()))
}

/// An answer with nothing in it yet.
pub(super) fn response(status: u16, headers: HeaderMap) -> ApiGatewayProxyResponse {
    let mut response = ApiGatewayProxyResponse::default();
    response.status_code = status.into();
    // In one of the two places only: API Gateway would send what is in both twice.
    response.multi_value_headers = headers;
    response
}

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PairsVisitor)
    }
}

struct PairsVisitor;

impl<'de> Visitor<'de> for PairsVisitor {
    type Value = Pairs;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("names and values, or null")
    }

    fn visit_unit<E>(self) -> Result<Pairs, E> {
        Ok(Pairs::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
        let mut pairs = Pairs::default();
        while let Some(name) = map.next_key::<String>()? {
            let Values(values) = map.next_value()?;
            pairs.0.extend(values.into_iter().map(|value| (name.clone(), value)));
        }
        Ok(pairs)
    }
}

/// A text, a list of texts, or null.
struct Values(Vec<String>);

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValuesVisitor).map(Self)
    }
}

struct ValuesVisitor;

impl<'de> Visitor<'de> for ValuesVisitor {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a text, a list of texts, or null")
    }

    fn visit_unit<E>(self) -> Result<Vec<String>, E> {
        Ok(Vec::new())
    }

    fn visit_str<E>(self, value: &str) -> Result<Vec<String>, E> {
        Ok(vec![value.to_owned()])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<String>, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element()? {
            values.push(value);
        }
        Ok(values)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<String>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(part: Value) -> ProxyEvent {
        let mut event = json!({"httpMethod": "GET", "path": "/x"});
        if let (Value::Object(event), Value::Object(part)) = (&mut event, part) {
            event.extend(part);
        }
        serde_json::from_value(event).expect("an event")
    }

    #[test]
    fn every_value_of_a_header_is_kept_whatever_the_case_of_its_name() {
        for (part, values) in [
            (json!({"headers": {"TraceID": "b"}, "multiValueHeaders": {"TraceID": ["a", "b"]}}), &["a", "b"][..]),
            (
                json!({"headers": {"traceid": "b"}, "multiValueHeaders": {"TraceID": ["a"], "traceid": ["b"]}}),
                &["a", "b"],
            ),
            (json!({"headers": {"TRACEID": "a"}, "multiValueHeaders": {"traceid": ["a"]}}), &["a"]),
            (json!({"headers": {"TraceID": "a"}}), &["a"]),
            (json!({"headers": {"TraceID": "a"}, "multiValueHeaders": null}), &["a"]),
            (json!({"headers": null, "multiValueHeaders": {"TraceID": []}}), &[]),
        ] {
            let map = event(part.clone()).header_map().expect("headers");
            assert!(map.get_all("traceid").iter().eq(values), "{part}");
        }
    }

    #[test]
    fn headers_beyond_ascii_are_read_and_control_characters_are_not() {
        assert!(event(json!({"headers": {"User-Agent": "J\u{f6}rg \u{1f600}"}})).header_map().is_some());
        for (name, value) in [("X", "a\r\nSet-Cookie: b"), ("X", "a\0"), ("a b", "x"), ("", "x"), ("X\n", "x")] {
            assert!(event(json!({"headers": {name: value}})).header_map().is_none(), "{name:?} {value:?}");
        }
    }

    #[test]
    fn every_value_of_a_parameter_is_kept() {
        let part = json!({"queryStringParameters": {"a": "2"}, "multiValueQueryStringParameters": {"a": ["1", "2"], "A": ["3"]}});
        let pairs = event(part).query();
        assert_eq!(pairs, [("A", "3"), ("a", "1"), ("a", "2")].map(|(n, v)| (n.to_owned(), v.to_owned())));
    }

    #[test]
    fn r60_the_authorizer_sees_one_header_or_none() {
        for (part, value) in [
            (json!({"headers": {"Authorization": "a"}, "multiValueHeaders": {"Authorization": ["a"]}}), Some("a")),
            (json!({"headers": {"authorization": "a", "User-Agent": "J\u{f6}rg"}}), Some("a")),
            (json!({"headers": {"Authorization": "b"}, "multiValueHeaders": {"Authorization": ["a", "b"]}}), None),
            (json!({"multiValueHeaders": {"Authorization": ["a"], "authorization": ["a"]}}), None),
            (json!({"headers": {"Authorization": "a", "AUTHORIZATION": "b"}}), None),
            (json!({"headers": null, "multiValueHeaders": null}), None),
            (json!({"headers": {"Authorization": null}}), None),
            (json!({}), None),
        ] {
            let event: AuthorizerEvent = serde_json::from_value(part.clone()).expect("an event");
            assert_eq!(event.header("authorization"), value, "{part}");
        }
    }

    #[test]
    fn only_texts_are_taken_from_the_authorizer() {
        let event = event(json!({"requestContext": {"authorizer": {"caller": "x", "other": 1}}}));
        assert_eq!(
            (event.authorizer("caller"), event.authorizer("other"), event.authorizer("none")),
            (Some("x"), None, None)
        );
    }
}

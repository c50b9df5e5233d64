//! JSON in which no object names a member twice (R60). Of two members serde_json keeps the last and other readers the first: what
//! one program checks, another would not see.

use std::{
    cell::Cell,
    collections::HashSet,
    fmt::{self, Formatter},
};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// The most members of an object that nobody reads: what is kept of it for the comparison must stay small.
const MAX_UNREAD: usize = 1_000;
const REPEATED: &str = "an object that names a member twice";
const TOO_MANY: &str = "an object of more than 1,000 members";

/// Why a text was refused. Neither message repeats any of it (R31).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StrictError {
    /// It is not JSON in UTF-8, or more than 128 levels deep.
    #[error("not JSON")]
    NotJson,
    /// An object, at any depth, names a member twice.
    #[error("an object names a member twice")]
    Repeated,
}

/// Reads a whole text as JSON. For short texts: the value is kept in memory.
///
/// # Errors
/// See [`StrictError`].
pub fn value(text: &[u8]) -> Result<Value, StrictError> {
    let repeated = Cell::new(false);
    let mut reader = serde_json::Deserializer::from_slice(text);
    let read = Kept { repeated: &repeated }.deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    read.map_err(|_| if repeated.get() { StrictError::Repeated } else { StrictError::NotJson })
}

#[derive(Clone, Copy)]
struct Kept<'a> {
    /// Set where reading ended at a repeated name.
    repeated: &'a Cell<bool>,
}

impl<'de> DeserializeSeed<'de> for Kept<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Kept<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut Formatter) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Value, E> {
        Ok(Value::Bool(truth))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Number::from_f64(number).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(self)? {
            values.push(value);
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            // R60
            if members.contains_key(&name) {
                self.repeated.set(true);
                return Err(A::Error::custom(REPEATED));
            }
            members.insert(name, map.next_value_seed(self)?);
        }
        Ok(members.into())
    }
}

/// The names of an object's members that nobody reads.
#[derive(Default)]
pub(super) struct Names(HashSet<String>);

impl Names {
    /// Takes note of one; what is wrong, if it was there before or there are too many.
    pub(super) fn note(&mut self, name: String) -> Fault {
        match (self.0.len() < MAX_UNREAD, self.0.contains(&name)) {
            (_, true) => Some(REPEATED),
            (false, _) => Some(TOO_MANY),
            (true, false) => {
                self.0.insert(name);
                None
            }
        }
    }
}

/// What is wrong with a value that nobody reads, in words that follow "holds".
pub(super) type Fault = Option<&'static str>;

/// Reads any value to its end, and keeps only what is wrong with it.
#[derive(Clone, Copy)]
pub(super) struct Unread;

impl<'de> DeserializeSeed<'de> for Unread {
    type Value = Fault;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Fault, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unread {
    type Value = Fault;

    fn expecting(&self, f: &mut Formatter) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Fault, E> {
        Ok(None)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Fault, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Fault, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Fault, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Fault, E> {
        Ok(None)
    }

    fn visit_str<E>(self, _: &str) -> Result<Fault, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Fault, A::Error> {
        let mut fault = None;
        while let Some(found) = list.next_element_seed(self)? {
            fault = fault.or(found);
        }
        Ok(fault)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fault, A::Error> {
        let (mut names, mut fault) = (Names::default(), None);
        while let Some(name) = map.next_key::<String>()? {
            let found = names.note(name);
            fault = fault.or(found).or(map.next_value_seed(self)?);
        }
        Ok(fault)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn unread(text: &str) -> Fault {
        Unread.deserialize(&mut serde_json::Deserializer::from_str(text)).expect("JSON")
    }

    #[test]
    fn r60_an_object_that_names_a_member_twice_is_refused_at_any_depth() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"b":{},"a":null}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"x":[{"y":{"a":1,"a":2}}]}"#,
            r#"[[[{"":0,"":0}]]]"#,
        ] {
            assert_eq!(value(text.as_bytes()), Err(StrictError::Repeated), "{text}");
            assert_eq!(unread(text), Some(REPEATED), "{text}");
        }
        for text in [r#"{"a":{"a":1},"A":1}"#, r#"[{"a":1},{"a":1}]"#, "{}", r#""a""#, "-1.5e3"] {
            assert_eq!(value(text.as_bytes()).ok(), serde_json::from_str(text).ok(), "{text}");
            assert_eq!(unread(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_not_json_is_refused() {
        let deep = "[".repeat(200);
        for text in
            ["", "{", "{}{}", "\u{feff}{}", "NaN", "1e400", "'a'", "{a:1}", "[1,]", r#""\ud800""#, "\"\0\"", &deep]
        {
            assert_eq!(value(text.as_bytes()), Err(StrictError::NotJson), "{text:?}");
        }
        assert_eq!(value(b"\"\xff\""), Err(StrictError::NotJson));
    }

    #[test]
    fn an_object_that_nobody_reads_has_a_bounded_number_of_members() {
        let object = |members: usize| {
            let object: Map<String, Value> = (0..members).map(|n| (n.to_string(), json!(0))).collect();
            Value::from(object).to_string()
        };
        assert_eq!((unread(&object(1_000)), unread(&object(1_001))), (None, Some(TOO_MANY)));
    }

    proptest! {
        #[test]
        fn any_text_is_read_as_serde_json_reads_it_or_refused(text in r#"[{}\[\]",:0-9a-c\\ue. -]{0,40}"#) {
            match value(text.as_bytes()) {
                Ok(read) => prop_assert_eq!(Ok(read), serde_json::from_str(&text).map_err(|e| e.to_string())),
                Err(StrictError::Repeated) => {}
                Err(StrictError::NotJson) => prop_assert!(serde_json::from_str::<Value>(&text).is_err()),
            }
        }
    }
}

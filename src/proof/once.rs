//! JSON in which no name stands twice.
//!
//! Of two, one reader takes the first and another one the last: what is proved has to say the same to everybody.

use std::fmt;

use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// Any JSON, where no name stands twice in an object.
pub struct Once(pub Value);

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Anything;
        impl<'de> Visitor<'de> for Anything {
            type Value = Once;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Once, A::Error> {
                let mut fields = Map::new();
                while let Some((name, Once(value))) = map.next_entry::<String, Once>()? {
                    if fields.contains_key(&name) {
                        return Err(A::Error::custom(format!("{name:?} stands there twice")));
                    }
                    fields.insert(name, value);
                }
                Ok(Once(fields.into()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Once, A::Error> {
                let mut values = Vec::new();
                while let Some(Once(value)) = list.next_element()? {
                    values.push(value);
                }
                Ok(Once(values.into()))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Once, E> {
                Ok(Once(text.into()))
            }
            fn visit_bool<E: Error>(self, is: bool) -> Result<Once, E> {
                Ok(Once(is.into()))
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<Once, E> {
                Ok(Once(number.into()))
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<Once, E> {
                Ok(Once(number.into()))
            }
            fn visit_f64<E: Error>(self, number: f64) -> Result<Once, E> {
                Ok(Once(number.into()))
            }
            fn visit_unit<E: Error>(self) -> Result<Once, E> {
                Ok(Once(Value::Null))
            }
        }
        deserializer.deserialize_any(Anything)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_stands_twice_is_refused_wherever_it_is() {
        let read = |text: &str| serde_json::from_str::<Once>(text).map(|Once(value)| value).map_err(|e| e.to_string());
        let fine = r#"{"a":[1,-2,0.5,"x",true,null],"b":{"a":{}}}"#;
        assert_eq!(read(fine).unwrap(), serde_json::from_str::<Value>(fine).unwrap());
        for twice in [r#"{"a":1,"a":1}"#, r#"{"b":{"a":1,"a":2}}"#, r#"[{"a":1,"\u0061":2}]"#] {
            assert!(read(twice).unwrap_err().starts_with("\"a\" stands there twice"), "{twice}");
        }
    }
}

//! Reads the `refused` list of an answer entry by entry, so that what is wrong with one costs no other.

use std::collections::HashMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::REASON_MAX;
use crate::core::model::RouterId;

type Refused = HashMap<RouterId, String>;

/// The whole answer.
pub(super) struct Reply<'a>(pub(super) &'a mut Refused);

/// Its list.
struct List<'a>(&'a mut Refused);

#[derive(Deserialize)]
struct Refusal {
    router_id: RouterId,
    #[serde(default)]
    reason: Value,
}

impl<'de> DeserializeSeed<'de> for Reply<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Reply<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a list `refused`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            if key == "refused" {
                map.next_value_seed(List(&mut *self.0))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for List<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for List<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of refusals")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(entry) = list.next_element::<Value>()? {
            let Ok(Refusal { router_id, reason }) = Refusal::deserialize(&entry) else {
                continue;
            };
            let reason = match reason {
                Value::String(text) => text.chars().take(REASON_MAX).collect(),
                Value::Null => String::new(),
                other => other.to_string().chars().take(REASON_MAX).collect(),
            };
            self.0.insert(router_id, reason);
        }
        Ok(())
    }
}

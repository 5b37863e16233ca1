//! All places of a mapping, found in one pass over the body. No tree of the body is built.

use crate::event::locator::Pointer;
use crate::json::{self, Name};
use crate::{Rejection, RejectionCode};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// Most places of one mapping: those of an object that were seen are bits of one integer.
pub(super) const MAX_PLACES: usize = 32;

/// What was found, by the slot of its pointer.
pub(super) type Found<'a> = [Option<&'a RawValue>; MAX_PLACES];

/// The places, by the steps that lead to them.
#[derive(Debug, Clone, Default)]
pub(super) struct Places {
    root: Node,
    count: usize,
}

#[derive(Debug, Clone, Default)]
struct Node {
    /// Its pointer, for an error
    pointer: String,
    /// Its value is wanted
    slot: Option<usize>,
    children: Vec<Child>,
}

#[derive(Debug, Clone)]
struct Child {
    token: String,
    /// The token as an index of an array
    index: Option<usize>,
    node: Node,
}

impl Places {
    /// Gives a pointer its slot: the same for the same place.
    pub(super) fn add(&mut self, pointer: &mut Pointer) -> Result<(), String> {
        let mut node = &mut self.root;
        for token in &pointer.path {
            let at = node.children.iter().position(|child| child.token == *token);
            let at = at.unwrap_or_else(|| {
                let step = token.replace('~', "~0").replace('/', "~1");
                let child = Node {
                    pointer: format!("{}/{step}", node.pointer),
                    ..Node::default()
                };
                node.children.push(Child {
                    token: token.clone(),
                    index: json::index_of(token),
                    node: child,
                });
                node.children.len() - 1
            });
            node = &mut node.children[at].node;
        }
        if node.slot.is_none() {
            node.slot = Some(self.count);
            self.count += 1;
        }
        pointer.slot = node.slot.unwrap_or_default();
        if self.count > MAX_PLACES {
            return Err(format!(
                "more than {MAX_PLACES} places in the body are read; name fewer"
            ));
        }
        Ok(())
    }

    /// Reads a body: what is at each place, and that all of it is JSON.
    pub(super) fn read<'a>(&self, text: &'a str) -> Result<Found<'a>, Rejection> {
        let (mut found, mut fault) = ([None; MAX_PLACES], None);
        let mut json = serde_json::Deserializer::from_str(text);
        let walk = Walk {
            node: &self.root,
            found: &mut found,
            fault: &mut fault,
        };
        let read = walk.deserialize(&mut json).and_then(|()| json.end());
        match (read, fault) {
            (_, Some(fault)) => Err(fault),
            (Ok(()), None) => Ok(found),
            (Err(error), None) => Err(unreadable(text, &error)),
        }
    }
}

const UNREADABLE: &str = "a number or string that cannot be read stands where an object must be";

fn unreadable(text: &str, error: &serde_json::Error) -> Rejection {
    // A number beyond a float or half a character, which are JSON all the same, stand where an object is looked into.
    if serde_json::from_str::<IgnoredAny>(text).is_ok() {
        return Rejection::new(RejectionCode::WrongType, None, UNREADABLE);
    }
    let at = format!("line {} column {}", error.line(), error.column());
    Rejection::new(RejectionCode::NotJson, None, format!("not JSON at {at}"))
}

/// Reads one value, and the places in it.
struct Walk<'n, 'f, 'a> {
    node: &'n Node,
    found: &'f mut Found<'a>,
    fault: &'f mut Option<Rejection>,
}

impl<'a> Walk<'_, '_, 'a> {
    /// There is something to look for, and the body itself is no object.
    fn no_object(self) {
        if self.node.pointer.is_empty() && !self.node.children.is_empty() {
            self.fault.get_or_insert_with(|| {
                let detail = "the body is JSON, but not an object";
                Rejection::new(RejectionCode::NotAnObject, None, detail)
            });
        }
    }
}

impl<'a> DeserializeSeed<'a> for Walk<'_, '_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.node.children.is_empty() && self.node.slot.is_none() {
            return IgnoredAny::deserialize(deserializer).map(drop);
        }
        let Some(slot) = self.node.slot else {
            return deserializer.deserialize_any(self);
        };
        let value = <&RawValue>::deserialize(deserializer)?;
        self.found[slot] = Some(value);
        // What lies inside a value that is wanted itself is found in its text.
        if matches!(value.get().as_bytes().first(), Some(b'{' | b'['))
            && !self.node.children.is_empty()
        {
            let (pointer, fault) = (&self.node.pointer, &mut *self.fault);
            let inside = Walk {
                node: self.node,
                found: self.found,
                fault: &mut *fault,
            };
            let mut json = serde_json::Deserializer::from_str(value.get());
            if json.deserialize_any(inside).is_err() {
                let at = Some(pointer.clone());
                fault.get_or_insert_with(|| {
                    Rejection::new(RejectionCode::WrongType, at, UNREADABLE)
                });
            }
        }
        Ok(())
    }
}

impl<'a> Visitor<'a> for Walk<'_, '_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<M: MapAccess<'a>>(self, mut map: M) -> Result<(), M::Error> {
        let mut seen: u64 = 0;
        while let Some(Name(name)) = map.next_key()? {
            let children = &self.node.children;
            let Some(at) = children.iter().position(|child| child.token == name) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let node = &children[at].node;
            if seen & (1 << at) != 0 {
                self.fault.get_or_insert_with(|| {
                    let (code, pointer) = (RejectionCode::DuplicateField, node.pointer.clone());
                    Rejection::new(code, Some(pointer), "appears more than once")
                });
            }
            seen |= 1 << at;
            map.next_value_seed(Walk {
                node,
                found: &mut *self.found,
                fault: &mut *self.fault,
            })?;
        }
        Ok(())
    }

    fn visit_seq<S: SeqAccess<'a>>(self, mut items: S) -> Result<(), S::Error> {
        for index in 0.. {
            let child = self
                .node
                .children
                .iter()
                .find(|child| child.index == Some(index));
            let more = match child {
                Some(child) => items
                    .next_element_seed(Walk {
                        node: &child.node,
                        found: &mut *self.found,
                        fault: &mut *self.fault,
                    })?
                    .is_some(),
                None => items.next_element::<IgnoredAny>()?.is_some(),
            };
            if !more {
                break;
            }
        }
        if self.node.children.iter().all(|child| child.index.is_none()) {
            self.no_object();
        }
        Ok(())
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        self.no_object();
        Ok(())
    }

    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<(), E> {
        self.no_object();
        Ok(())
    }

    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<(), E> {
        self.no_object();
        Ok(())
    }

    fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<(), E> {
        self.no_object();
        Ok(())
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<(), E> {
        self.no_object();
        Ok(())
    }

    fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<(), E> {
        self.no_object();
        Ok(())
    }
}

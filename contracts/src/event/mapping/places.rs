//! All places of a mapping, found in one walk through the body. No tree of the body is built.

use crate::event::locator::Pointer;
use crate::json::{self, Cursor, unquoted};
use crate::{Rejection, RejectionCode};
use serde::de::IgnoredAny;

/// Most places of one mapping: those of an object that were seen are bits of one integer.
pub(super) const MAX_PLACES: usize = 32;

/// What was found, as it is written, by the slot of its pointer.
pub(super) type Found<'a> = [Option<&'a str>; MAX_PLACES];

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
        if let Err(error) = serde_json::from_str::<IgnoredAny>(text) {
            let place = format!("line {} column {}", error.line(), error.column());
            let detail = format!("not JSON at {place}");
            return Err(Rejection::new(RejectionCode::NotJson, None, detail));
        }
        let (mut cursor, mut found) = (Cursor::new(text), [None; MAX_PLACES]);
        let looks_into = match cursor.peek() {
            b'{' => true,
            b'[' => self.root.children.iter().any(|child| child.index.is_some()),
            _ => false,
        };
        if !looks_into && !self.root.children.is_empty() {
            let detail = "the body is JSON, but not an object";
            return Err(Rejection::new(RejectionCode::NotAnObject, None, detail));
        }
        self.root.walk(&mut cursor, &mut found)?;
        Ok(found)
    }
}

impl Node {
    /// Walks through the value that comes next, and notes what is at the places in it.
    fn walk<'a>(&self, cursor: &mut Cursor<'a>, found: &mut Found<'a>) -> Result<(), Rejection> {
        let mark = cursor.mark();
        match (&*self.children, cursor.peek()) {
            ([_, ..], b'{') => self.walk_object(cursor, found)?,
            ([_, ..], b'[') => self.walk_array(cursor, found)?,
            (_, _) => drop(cursor.value()),
        }
        if let Some(slot) = self.slot {
            found[slot] = Some(cursor.since(mark));
        }
        Ok(())
    }

    fn walk_object<'a>(
        &self,
        cursor: &mut Cursor<'a>,
        found: &mut Found<'a>,
    ) -> Result<(), Rejection> {
        let mut seen: u64 = 0;
        cursor.enter();
        while let Some(name) = cursor.name() {
            // A name that is no text names no place.
            let name = unquoted(name);
            let is_named = |child: &Child| name.as_ref().is_some_and(|name| child.token == *name);
            let Some(at) = self.children.iter().position(is_named) else {
                cursor.value();
                continue;
            };
            let node = &self.children[at].node;
            if seen & (1 << at) != 0 {
                let (code, pointer) = (RejectionCode::DuplicateField, node.pointer.clone());
                return Err(Rejection::new(
                    code,
                    Some(pointer),
                    "appears more than once",
                ));
            }
            seen |= 1 << at;
            node.walk(cursor, found)?;
        }
        Ok(())
    }

    fn walk_array<'a>(
        &self,
        cursor: &mut Cursor<'a>,
        found: &mut Found<'a>,
    ) -> Result<(), Rejection> {
        cursor.enter();
        for index in 0.. {
            if !cursor.item() {
                break;
            }
            let is_named = |child: &&Child| child.index == Some(index);
            match self.children.iter().find(is_named) {
                Some(child) => child.node.walk(cursor, found)?,
                None => drop(cursor.value()),
            }
        }
        Ok(())
    }
}

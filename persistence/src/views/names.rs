//! Names of views and columns: what PostgreSQL takes, each once, and always quoted.

use sha2::{Digest, Sha256};
use std::collections::HashSet;

/// Longest name, in bytes: PostgreSQL cuts longer ones without an error.
const LONGEST: usize = 63;

/// An identifier in SQL.
#[must_use]
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text in SQL, whatever the server's `standard_conforming_strings`.
pub(super) fn literal(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    if doubled.contains('\\') {
        format!(" E'{}'", doubled.replace('\\', "\\\\"))
    } else {
        format!("'{doubled}'")
    }
}

/// A name for the view of each contract, which are given in order: `stripe.charge.refunded` is `stripe_charge_refunded`. Of several that come to the same,
/// the first has it.
pub(super) fn of_views<'c>(contracts: impl Iterator<Item = &'c str>) -> Vec<String> {
    let mut taken = HashSet::new();
    contracts
        .map(|contract| {
            let word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
            let mut name: String = contract
                .chars()
                .map(|letter| match word(letter) {
                    true => letter.to_ascii_lowercase(),
                    false => '_',
                })
                .collect();
            if name.starts_with(|first: char| first.is_ascii_digit()) {
                name.insert(0, '_');
            }
            if name.len() > LONGEST || taken.contains(&name) {
                name = marked(&name, contract);
            }
            taken.insert(name.clone());
            name
        })
        .collect()
}

/// A column for each field: its own name; with `payload_` before it where a column of the row has that, or it is empty.
pub(super) fn of_columns<'c>(
    of_row: &[&str],
    fields: impl Iterator<Item = &'c str> + Clone,
) -> Vec<String> {
    let mut taken: HashSet<String> = of_row.iter().map(|name| (*name).to_owned()).collect();
    taken.insert(String::new());
    let free: HashSet<&str> = fields
        .clone()
        .filter(|name| !taken.contains(*name))
        .collect();
    taken.extend(free.iter().map(|name| (*name).to_owned()));
    fields
        .map(|field| {
            let mut name = field.to_owned();
            if !free.contains(field) {
                while taken.contains(&name) {
                    name.insert_str(0, "payload_");
                }
            }
            if name.len() > LONGEST {
                name = marked(&name, field);
            }
            taken.insert(name.clone());
            name
        })
        .collect()
}

/// A name that is too long, or is taken: its beginning, and 8 hexadecimal digits of what it is the name of.
fn marked(name: &str, of: &str) -> String {
    let mut end = name.len().min(LONGEST - 9);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    let digest = Sha256::digest(of);
    format!("{}_{}", &name[..end], hex::encode(&digest[..4]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_have_names_that_need_no_quotes_and_no_two_the_same() {
        let long = format!("acme.{}", "x".repeat(80));
        let contracts = [
            "3ds.done",
            "Acme.Order-Paid",
            "a.b",
            "a_b",
            "order\"; drop table x; --",
            "straße.gebaut",
            long.as_str(),
        ];
        let names = of_views(contracts.into_iter());
        assert_eq!(
            names[..3],
            ["_3ds_done", "acme_order_paid", "a_b"],
            "{names:?}"
        );
        assert!(names[3].starts_with("a_b_") && names[3].len() == 12);
        assert_eq!(names[4], "order___drop_table_x____");
        assert_eq!(names[5], "stra_e_gebaut");
        assert!(names[6].starts_with("acme_xxx") && names[6].len() == LONGEST);
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
    }

    #[test]
    fn a_field_has_its_own_name_unless_the_row_has_it() {
        let long = "ü".repeat(40);
        let fields = ["id", "source", "payload_source", "", "select", &long];
        let names = of_columns(&["source", "event_id"], fields.into_iter());
        let expected = [
            "id",
            "payload_payload_source",
            "payload_source",
            "payload_",
            "select",
        ];
        assert_eq!(names[..5], expected);
        assert!(names[5].starts_with("üü") && names[5].len() <= LONGEST);
    }

    #[test]
    fn nothing_ends_a_name_or_a_text() {
        assert_eq!(quoted("a\"b"), "\"a\"\"b\"");
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal("\\'"), " E'\\\\'''");
    }
}

//! The `SELECT` of a view. A value that is not of its column's type is null there, so that no row can make the view fail: a row may be of an
//! older version of the contract, or of one that was changed in place.

use super::View;
use super::names::{literal, of_columns, quoted};
use contracts::event::{Contract, FieldKind};

/// Columns of the row, which every view has.
const OF_ROW: [(&str, &str); 9] = [
    ("source", "text"),
    ("event_id", "text"),
    ("event_type", "text"),
    ("contract", "text"),
    ("entity_key", "text"),
    ("occurred_at", TIME),
    ("received_at", TIME),
    ("stored_at", TIME),
    ("payload", "jsonb"),
];
/// The row's amount: of contracts that have one, unless the payload's own field has the name.
const MONEY: [(&str, &str); 2] = [("amount", "numeric"), ("currency", "text")];
const TIME: &str = "timestamp with time zone";

/// A day of the calendar, from the year 1 to 9999.
const DAY: &str = "((?!0000)[0-9]{4}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))\
    |([0-9]{2}(0[48]|[2468][048]|[13579][26])|(0[48]|[2468][048]|[13579][26])00)-02-29)";
const TIME_OF_DAY: &str = "[Tt]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]{1,12})?([Zz]|[+-](0[0-9]|1[0-4]):[0-5][0-9])";
const UUID: &str = "[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}";

/// The view of a contract's versions, which are given from the oldest to the newest: it has the columns of the newest, and those that an older one had too come
/// first, so that a field that a version adds is a column at the end, wherever its schema has it. `None` without a version.
pub(super) fn view(name: String, versions: &[&Contract]) -> Option<View> {
    let contract = versions.last()?;
    let first_with = |name: &str| {
        let mut versions = versions.iter();
        versions.position(|one| one.fields().any(|field| field.name == name))
    };
    // U+0000 is in no name of PostgreSQL's, and in no stored payload.
    let mut fields: Vec<_> = contract
        .fields()
        .filter(|field| !field.name.contains('\0'))
        .collect();
    fields.sort_by_key(|field| first_with(field.name));
    let names = fields.iter().map(|field| field.name);
    let mut columns = OF_ROW.to_vec();
    if contract.has_amount() {
        let free = |(money, _): &&(&str, &str)| names.clone().all(|name| name != *money);
        columns.extend(MONEY.iter().filter(free));
    }
    let of_row: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    let names = of_columns(&of_row, names);
    let mut selected: Vec<String> = of_row.iter().map(|name| format!("e.{name}")).collect();
    // Each field is taken out of the payload once, however often it is named; OFFSET 0 keeps PostgreSQL from writing it out again.
    let mut taken = Vec::new();
    let mut all: Vec<(String, &'static str)> = columns
        .into_iter()
        .map(|(name, kind)| (name.to_owned(), kind))
        .collect();
    for (number, (field, name)) in fields.iter().zip(names).enumerate() {
        let (kind, value) = typed(field.kind, &format!("f.v{number}"));
        let operator = match field.kind {
            FieldKind::Nested => "->",
            _ => "->>",
        };
        selected.push(format!("{value} AS {}", quoted(&name)));
        taken.push(format!(
            "e.payload {operator} {} AS v{number}",
            literal(field.name)
        ));
        all.push((name, kind));
    }
    Some(View {
        definition: format!(
            "SELECT {}\nFROM persistence.stored_events AS e\nCROSS JOIN LATERAL (SELECT {}\n    OFFSET 0) AS f\nWHERE rtrim(e.contract, '0123456789') = {}",
            selected.join(",\n    "),
            taken.join(",\n    "),
            literal(&format!("{}.v", contract.name)),
        ),
        name,
        contract: contract.name.clone(),
        columns: all,
    })
}

/// The type of a column, and its value, made of the field's text (of a nested one: its JSON).
fn typed(kind: FieldKind, value: &str) -> (&'static str, String) {
    let if_like = |pattern: &str, kind: &str| {
        format!("CASE WHEN {value} ~ '^{pattern}$' THEN {value}::{kind} END")
    };
    match kind {
        FieldKind::Text => ("text", value.to_owned()),
        FieldKind::Uuid => ("uuid", if_like(UUID, "uuid")),
        FieldKind::Date => ("date", if_like(DAY, "date")),
        FieldKind::Time => (TIME, if_like(&format!("{DAY}{TIME_OF_DAY}"), "timestamptz")),
        FieldKind::Integer => (
            "bigint",
            format!(
                "CASE WHEN length({value}) <= 40 AND {value} ~ '^-?[0-9]+([.]0+)?$' THEN \
                 CASE WHEN {value}::numeric BETWEEN -9223372036854775808 AND 9223372036854775807 THEN {value}::numeric::bigint END END"
            ),
        ),
        FieldKind::Decimal => (
            "numeric",
            format!(
                "CASE WHEN length({value}) <= 1000 AND {value} ~ '^-?[0-9]+([.][0-9]+)?$' THEN {value}::numeric END"
            ),
        ),
        FieldKind::Boolean => (
            "boolean",
            format!("CASE {value} WHEN 'true' THEN true WHEN 'false' THEN false END"),
        ),
        FieldKind::Nested => ("jsonb", format!("nullif({value}, 'null')")),
    }
}

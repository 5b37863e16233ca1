//! What a new version of a contract breaks: each kind of change with its place, and no break that is not found.

#![allow(clippy::unwrap_used, reason = "a test")]

use contracts::event::{
    Breaks, Compatibility, Contract, ContractFiles, changes, changes_in_place, record_changes,
};

fn contract(schema_json: &str) -> Contract {
    written(schema_json, None, 1)
}

fn written(schema_json: &str, record_avsc: Option<&str>, schema_id: i32) -> Contract {
    Contract::alone(ContractFiles {
        name: "order.placed".to_owned(),
        version: 1,
        schema_json: schema_json.to_owned(),
        record_avsc: record_avsc.map(str::to_owned),
        schema_id: Some(schema_id),
    })
    .unwrap()
}

/// An object with one field `a` of this schema, which is required.
fn of_field(schema: &str) -> String {
    format!(r#"{{"type":"object","required":["a"],"properties":{{"a":{schema}}}}}"#)
}

/// Places and breaks, of the payload's schema alone.
fn found(old: &str, new: &str) -> Vec<(String, Breaks)> {
    changes(&contract(old), &contract(new))
        .into_iter()
        .filter(|change| change.file == "schema.json")
        .map(|change| (change.pointer, change.breaks))
        .collect()
}

#[test]
fn each_change_of_a_value_has_its_place_and_whom_it_breaks() {
    use Breaks::{Backward, Both, Forward, Nobody, Undecided};
    for (old, new, breaks) in [
        (r#"{"type":"string"}"#, r#"{"type":"integer"}"#, Both),
        (r#"{"type":"integer"}"#, r#"{"type":"number"}"#, Forward),
        (r#"{"type":"number"}"#, r#"{"type":"integer"}"#, Backward),
        (
            r#"{"type":"string"}"#,
            r#"{"type":["string","null"]}"#,
            Forward,
        ),
        (
            r#"{"anyOf":[{"type":"null"},{"type":"string"}]}"#,
            r#"{"type":"string"}"#,
            Backward,
        ),
        (
            r#"{"type":"string"}"#,
            r#"{"type":"string","minLength":2}"#,
            Backward,
        ),
        (
            r#"{"type":"string","maxLength":5}"#,
            r#"{"type":"string","maxLength":9}"#,
            Forward,
        ),
        (
            r#"{"type":"string","maxLength":5}"#,
            r#"{"type":"string"}"#,
            Forward,
        ),
        (
            r#"{"type":"string"}"#,
            r#"{"type":"string","format":"uuid"}"#,
            Backward,
        ),
        (
            r#"{"type":"string","format":"date"}"#,
            r#"{"type":"string","format":"date-time"}"#,
            Both,
        ),
        (
            r#"{"type":"string"}"#,
            r#"{"type":"string","x-eventflow":"id"}"#,
            Backward,
        ),
        (
            r#"{"type":"string","format":"uuid"}"#,
            r#"{"type":"string","x-eventflow":"id"}"#,
            Forward,
        ),
        (
            r#"{"type":"string","enum":["a","b"]}"#,
            r#"{"type":"string","enum":["a"]}"#,
            Backward,
        ),
        (
            r#"{"type":"string","enum":["a"]}"#,
            r#"{"type":"string","enum":["a","b"]}"#,
            Forward,
        ),
        (
            r#"{"type":"string"}"#,
            r#"{"type":"string","enum":["a"]}"#,
            Backward,
        ),
        (
            r#"{"type":"integer","minimum":0}"#,
            r#"{"type":"integer","minimum":1}"#,
            Backward,
        ),
        (
            r#"{"type":"integer","minimum":0}"#,
            r#"{"type":"integer","exclusiveMinimum":0}"#,
            Backward,
        ),
        (
            r#"{"type":"integer","maximum":9}"#,
            r#"{"type":"integer"}"#,
            Forward,
        ),
        (
            r#"{"type":"integer","multipleOf":2}"#,
            r#"{"type":"integer","multipleOf":6}"#,
            Backward,
        ),
        (
            r#"{"type":"integer","multipleOf":2}"#,
            r#"{"type":"integer","multipleOf":3}"#,
            Both,
        ),
        (
            r#"{"type":"boolean"}"#,
            r#"{"type":"boolean","const":true}"#,
            Backward,
        ),
        (
            r#"{"type":"array","items":{"type":"string"}}"#,
            r#"{"type":"array","items":{"type":"string"},"minItems":1}"#,
            Backward,
        ),
        ("{}", r#"{"type":"string"}"#, Backward),
        (
            r#"{"type":"string"}"#,
            r#"{"type":["string","integer"]}"#,
            Forward,
        ),
        (
            r#"{"type":"string"}"#,
            r#"{"type":"string","pattern":"^a"}"#,
            Backward,
        ),
        (
            r#"{"type":"string","pattern":"^a"}"#,
            r#"{"type":"string"}"#,
            Forward,
        ),
        (
            r#"{"type":"string","pattern":"^a"}"#,
            r#"{"type":"string","pattern":"^b"}"#,
            Undecided,
        ),
        (
            r#"{"type":"string","x-eventflow":"entity"}"#,
            r#"{"type":"string","x-eventflow":"id"}"#,
            Nobody,
        ),
    ] {
        assert_eq!(
            found(&of_field(old), &of_field(new))
                .iter()
                .map(|(at, breaks)| (at.as_str(), *breaks))
                .find(|(_, one)| *one == breaks),
            Some(("/a", breaks)),
            "{old} -> {new}: {:?}",
            found(&of_field(old), &of_field(new))
        );
        assert_eq!(found(&of_field(old), &of_field(old)), [], "{old}");
    }
}

#[test]
fn money_that_means_something_else_breaks_both_and_a_bound_below_zero_widens() {
    let of = |role: &str, more: &str| {
        format!(
            r#"{{"type":"object","required":["a","c"],"properties":{{"a":{{"type":["integer","string"],"x-eventflow":{role}{more}}},"c":{{"type":"string","x-eventflow":"currency"}}}}}}"#
        )
    };
    let major = of(r#""amount""#, "");
    let minor = of(r#""amount-minor""#, "");
    assert_eq!(found(&major, &minor), [("/a".to_owned(), Breaks::Both)]);
    // Without a bound it is above zero.
    let zero = of(r#""amount""#, r#","minimum":0"#);
    assert_eq!(found(&major, &zero), [("/a".to_owned(), Breaks::Forward)]);
    assert_eq!(found(&zero, &major), [("/a".to_owned(), Breaks::Backward)]);
}

#[test]
fn fields_and_places_inside_lists_and_maps_are_named() {
    use Breaks::{Backward, Both, Forward, Nobody};
    let of = |fields: &str, required: &str, more: &str| {
        format!(r#"{{"type":"object","required":[{required}],"properties":{{{fields}}}{more}}}"#)
    };
    let (a, ab) = (
        r#""a":{"type":"string"}"#,
        r#""a":{"type":"string"},"b/c":{"type":"string"}"#,
    );
    let closed = r#","additionalProperties":false"#;
    for (old, new, at, breaks) in [
        (of(a, "", ""), of(ab, "", ""), "/b~1c", Nobody),
        (of(a, "", ""), of(ab, r#""b/c""#, ""), "/b~1c", Backward),
        (of(ab, r#""b/c""#, ""), of(a, "", ""), "/b~1c", Forward),
        (of(ab, "", ""), of(a, "", ""), "/b~1c", Nobody),
        (of(a, "", closed), of(ab, "", closed), "/b~1c", Forward),
        (of(ab, "", closed), of(a, "", closed), "/b~1c", Backward),
        (of(ab, r#""b/c""#, closed), of(a, "", closed), "/b~1c", Both),
        (of(a, "", ""), of(a, "", closed), "", Backward),
        (of(a, "", closed), of(a, "", ""), "", Forward),
        (of(a, "", ""), of(a, r#""a""#, ""), "/a", Backward),
        (of(a, r#""a""#, ""), of(a, "", ""), "/a", Forward),
        (
            of_field(
                r#"{"type":"array","items":{"type":"object","properties":{"n":{"type":"integer"}}}}"#,
            ),
            of_field(
                r#"{"type":"array","items":{"type":"object","properties":{"n":{"type":"string"}}}}"#,
            ),
            "/a/*/n",
            Both,
        ),
        (
            of_field(r#"{"type":"object","additionalProperties":{"type":"integer"}}"#),
            of_field(r#"{"type":"object","additionalProperties":{"type":"integer","minimum":1}}"#),
            "/a/*",
            Backward,
        ),
        // A field that is new is not narrowed by what jsonschema judges of it.
        (
            of(a, "", ""),
            of(
                r#""a":{"type":"string"},"b":{"type":"string","pattern":"x"}"#,
                "",
                "",
            ),
            "/b",
            Nobody,
        ),
    ] {
        assert_eq!(
            found(&old, &new),
            [(at.to_owned(), breaks)],
            "{old} -> {new}"
        );
    }
}

/// What the old version takes, the new one takes, unless a change that breaks backward is named: for every pair of many schemas, and with
/// exchanged roles for forward.
#[test]
fn no_break_goes_unnoticed() {
    let schemas = [
        "{}",
        r#"{"type":"string"}"#,
        r#"{"type":["string","null"]}"#,
        r#"{"type":"string","minLength":2,"maxLength":3}"#,
        r#"{"type":"string","maxLength":2}"#,
        r#"{"type":"string","format":"date"}"#,
        r#"{"type":"string","format":"uuid"}"#,
        r#"{"type":"string","format":"date-time"}"#,
        r#"{"type":"string","format":"email"}"#,
        r#"{"type":"string","x-eventflow":"id"}"#,
        r#"{"type":"string","x-eventflow":"currency"}"#,
        r#"{"type":"string","x-eventflow":{"role":"currency","case":"any"}}"#,
        r#"{"type":"string","enum":["ab","abc"]}"#,
        r#"{"const":"ab"}"#,
        r#"{"type":"string","pattern":"^a"}"#,
        r#"{"type":"integer"}"#,
        r#"{"type":"integer","minimum":2}"#,
        r#"{"type":"number","exclusiveMinimum":2}"#,
        r#"{"type":"number","multipleOf":0.5}"#,
        r#"{"type":"integer","enum":[2,4]}"#,
        r#"{"type":"number"}"#,
        r#"{"type":["number","string"],"x-eventflow":"amount"}"#,
        r#"{"type":"number","x-eventflow":"amount","minimum":0}"#,
        r#"{"type":"boolean"}"#,
        r#"{"const":true}"#,
        r#"{"type":["string","integer"]}"#,
        r#"{"type":"object"}"#,
        r#"{"type":"object","properties":{"n":{"type":"integer"}}}"#,
        r#"{"type":"object","required":["n"],"properties":{"n":{"type":"integer"}}}"#,
        r#"{"type":"object","properties":{"n":{"type":"integer"}},"additionalProperties":false}"#,
        r#"{"type":"object","additionalProperties":{"type":"integer"}}"#,
        r#"{"type":"array"}"#,
        r#"{"type":"array","items":{"type":"integer"}}"#,
        r#"{"type":"array","items":{"type":"integer"},"minItems":2,"uniqueItems":true}"#,
        r#"{"type":"array","items":{"type":["integer","null"]},"maxItems":2}"#,
    ];
    let values = [
        "null",
        r#""""#,
        r#""a""#,
        r#""ab""#,
        r#""abc""#,
        r#""abcd""#,
        r#"" ""#,
        r#""EUR""#,
        r#""eur""#,
        r#""2026-01-02""#,
        r#""2026-01-02T03:04:05Z""#,
        r#""a@example.com""#,
        r#""00000000-0000-4000-8000-000000000000""#,
        "-1",
        "0",
        "1",
        "2",
        "2.0",
        "2.5",
        "3",
        "4",
        r#""2.5""#,
        "true",
        "false",
        "{}",
        r#"{"n":1}"#,
        r#"{"n":"x"}"#,
        r#"{"n":null}"#,
        r#"{"m":1}"#,
        r#"{"m":"x"}"#,
        "[]",
        "[1]",
        "[1,1]",
        "[1,2]",
        "[1,2,3]",
        "[null]",
        r#"["x"]"#,
    ];
    let payloads: Vec<String> = ["{}".to_owned()]
        .into_iter()
        .chain(values.iter().map(|value| format!(r#"{{"a":{value}}}"#)))
        .collect();
    let contracts: Vec<Contract> = schemas
        .iter()
        .flat_map(|schema| {
            let optional = format!(r#"{{"type":"object","properties":{{"a":{schema}}}}}"#);
            [contract(&of_field(schema)), contract(&optional)]
        })
        .collect();
    let takes: Vec<Vec<bool>> = contracts
        .iter()
        .map(|one| {
            payloads
                .iter()
                .map(|payload| one.check_payload(payload.as_bytes()).is_ok())
                .collect()
        })
        .collect();
    let mut broken = 0;
    for (old, old_takes) in contracts.iter().zip(&takes) {
        for (new, new_takes) in contracts.iter().zip(&takes) {
            let named = changes(old, new);
            let of_schema = || named.iter().filter(|change| change.file == "schema.json");
            let decided = of_schema().all(|change| change.breaks != Breaks::Undecided);
            let backward = of_schema().any(|change| change.breaks.backward());
            let forward = of_schema().any(|change| change.breaks.forward());
            for ((payload, before), now) in payloads.iter().zip(old_takes).zip(new_takes) {
                // What one of them does not declare, it takes whatever it is.
                let of_new_field = payload.contains(r#""n""#)
                    && of_schema()
                        .any(|change| change.pointer == "/a/n" && change.breaks == Breaks::Nobody);
                if before == now || !decided || of_new_field {
                    continue;
                }
                broken += 1;
                assert!(
                    if *before { backward } else { forward },
                    "{} -> {}: {payload} is {} now, and nobody said so: {named:?}",
                    old.schema_json,
                    new.schema_json,
                    if *now { "taken" } else { "refused" }
                );
            }
        }
    }
    assert!(broken > 10_000, "the pairs differ: {broken}");
}

#[test]
fn the_record_names_the_field_that_a_reader_cannot_read() {
    let of = |fields: &str| {
        format!(
            r#"{{"type":"record","name":"R","fields":[{{"name":"payload","type":{{"type":"record","name":"P","fields":[{fields}]}}}}]}}"#
        )
    };
    let (a, a_long) = (
        r#"{"name":"a","type":"string"}"#,
        r#"{"name":"a","type":"long"}"#,
    );
    let maybe = r#"{"name":"b","type":["null","string"],"default":null}"#;
    let must = r#"{"name":"b","type":"string"}"#;
    let with = |more: &str| of(&format!("{a},{more}"));
    for (old, new, expected) in [
        (of(a), of(a_long), vec![("/payload/a", Breaks::Both)]),
        (of(a), with(maybe), vec![]),
        (of(a), with(must), vec![("/payload/b", Breaks::Backward)]),
        (with(must), of(a), vec![("/payload/b", Breaks::Forward)]),
        (
            with(must),
            with(maybe),
            vec![("/payload/b", Breaks::Forward)],
        ),
        (
            with(maybe),
            with(must),
            vec![("/payload/b", Breaks::Backward)],
        ),
        (
            of(r#"{"name":"a","type":{"type":"array","items":"int"}}"#),
            of(r#"{"name":"a","type":{"type":"array","items":"long"}}"#),
            vec![("/payload/a/*", Breaks::Forward)],
        ),
        (
            of(r#"{"name":"a","type":{"type":"enum","name":"E","symbols":["x"]}}"#),
            of(r#"{"name":"a","type":{"type":"enum","name":"E","symbols":["x","y"]}}"#),
            vec![("/payload/a", Breaks::Forward)],
        ),
    ] {
        let found = record_changes(&old, &new);
        let found: Vec<_> = found
            .iter()
            .map(|one| (one.pointer.as_str(), one.breaks))
            .collect();
        assert_eq!(found, expected, "{old} -> {new}");
    }
}

#[test]
fn a_published_version_may_get_other_notes_and_nothing_else() {
    let plain =
        r#"{"type":"object","properties":{"title":{"type":"string"},"b":{"type":"integer"}}}"#;
    let published = contract(plain);
    let places = |now: &Contract| {
        let found = changes_in_place(&published, now).into_iter();
        found
            .map(|change| (change.file, change.pointer))
            .collect::<Vec<_>>()
    };
    let noted = r#"{"$comment":"x","title":"t","type":"object","properties":{"title":{"description":"d","type":"string"},"b":{"type":"integer","examples":[1]}}}"#;
    assert_eq!(places(&contract(noted)), []);
    let moved = r##"{"type":"object","properties":{"title":{"$ref":"#/$defs/t"},"b":{"type":"integer"}},"$defs":{"t":{"type":"string"}}}"##;
    assert_eq!(places(&contract(moved)), []);
    // A field called as a note is called is a field.
    let without = r#"{"type":"object","properties":{"b":{"type":"integer"}}}"#;
    assert_eq!(
        places(&contract(without)),
        [("schema.json", "/title".to_owned())]
    );
    let wider = plain.replace(r#""integer""#, r#""integer","minimum":1"#);
    assert_eq!(
        places(&contract(&wider)),
        [("schema.json", "/b".to_owned())]
    );
    let ordered =
        r#"{"type":"object","properties":{"b":{"type":"integer"},"title":{"type":"string"}}}"#;
    assert_eq!(places(&contract(ordered)), [("schema.json", String::new())]);
    assert_eq!(
        places(&written(plain, None, 2)),
        [("schema-id", String::new())]
    );
    let same_record = written(plain, Some(&published.record_avsc), 1);
    assert_eq!(places(&same_record), []);
}

#[test]
fn a_level_forbids_what_it_is_named_for() {
    use Compatibility::{Backward, Forward, Full, None};
    for (breaks, by) in [
        (Breaks::Nobody, &[][..]),
        (Breaks::Undecided, &[]),
        (Breaks::Backward, &[Backward, Full]),
        (Breaks::Forward, &[Forward, Full]),
        (Breaks::Both, &[Backward, Forward, Full]),
    ] {
        for level in [None, Backward, Forward, Full] {
            assert_eq!(
                level.forbids(breaks),
                by.contains(&level),
                "{level:?} {breaks:?}"
            );
        }
    }
}

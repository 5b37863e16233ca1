//! Where an envelope is, in the words of `[source.event]`: vendors' bodies, what is wrong with an event, and a naive walk of the tree as the judge.

#![allow(clippy::unwrap_used, reason = "a test")]

use contracts::RejectionCode;
use contracts::event::{Envelope, Mappings, Unknown};
use proptest::prelude::*;
use serde_json::{Value, json};

type Headers<'h> = &'h [(&'h str, Option<&'h str>)];

const RECEIVED: &str = "1700000000000007";

fn mappings(event: &str) -> Mappings {
    Mappings::from_toml(&format!("[[source]]\nname = \"acme\"\n{event}")).unwrap()
}

/// What becomes of an event of the source `acme`.
fn find(
    event: &str,
    more: Headers<'_>,
    body: &str,
) -> Result<Value, (RejectionCode, String, String)> {
    let all: Vec<(&str, Option<&str>)> = [
        ("ef.source", Some("acme")),
        ("ef.received_at", Some(RECEIVED)),
    ]
    .into_iter()
    .chain(more.iter().copied())
    .collect();
    let mappings = mappings(event);
    let found = mappings.find(all.as_slice(), body.as_bytes());
    found.map(|envelope| shown(&envelope)).map_err(|rejection| {
        (
            rejection.code,
            rejection.pointer.unwrap_or_default(),
            rejection.detail,
        )
    })
}

fn shown(envelope: &Envelope<'_>) -> Value {
    json!([
        envelope.id,
        envelope.event_type,
        envelope.time_micros,
        envelope.entity,
        envelope.payload_at,
        envelope.contract,
        envelope.unknown == Unknown::Store,
        envelope.filtered,
    ])
}

const STRIPE: &str = r#"
[source.event]
id = "/id"
type = "/type"
time = { from = "/created", as = "unix-seconds" }
entity = ["/data/object/customer/id", "/data/object/customer", "/data/object/id"]
payload = "/data/object"
contract = "stripe.{type}"
unknown = "store"
"#;
const GITHUB: &str = r#"
[source.event]
id = "header:X-GitHub-Delivery"
type = { join = ["header:X-GitHub-Event", "/action"], with = "." }
time = ["/head_commit/timestamp", "/pull_request/updated_at", "received"]
entity = "/repository/full_name"
payload = ""
contract = "github.{type}"
unknown = { "github.*" = "dead-letter", "*" = "store" }
filter = ["ping", "check_run.*"]
"#;
const SHOPIFY: &str = r#"
[source.event]
id = "header:x-shopify-event-id"
type = { from = "header:x-shopify-topic", replace = { "/" = "." } }
time = ["header:x-shopify-triggered-at", "/updated_at", "received"]
entity = "/admin_graphql_api_id"
payload = ""
contract = "shopify.{type}"
"#;
const STANDARD: &str = r#"
[source.event]
id = ["header:webhook-id", "header:svix-id"]
type = "/type"
time = ["/timestamp", { from = "header:webhook-timestamp", as = "unix-seconds" }]
payload = "/data"
"#;

#[test]
fn vendors_bodies_are_found_where_their_mappings_say() {
    let github = [
        ("x-github-delivery", Some("g-1")),
        ("x-github-event", Some("pull_request")),
    ];
    let push = [
        ("x-github-delivery", Some("g-2")),
        ("x-github-event", Some("push")),
    ];
    let ping = [
        ("x-github-delivery", Some("g-3")),
        ("x-github-event", Some("ping")),
    ];
    let check = [
        ("x-github-delivery", Some("g-4")),
        ("x-github-event", Some("check_run")),
    ];
    let shopify = [
        ("x-shopify-event-id", Some("s-1")),
        ("x-shopify-topic", Some("orders/create")),
        (
            "x-shopify-triggered-at",
            Some("2026-01-02T03:04:05.123456789Z"),
        ),
    ];
    let standard = [
        ("svix-id", Some("m-1")),
        ("webhook-timestamp", Some("1700000001")),
    ];
    for (event, headers, body, expected) in [
        (
            STRIPE,
            &[][..],
            r#"{"id":"evt_1","type":"charge.refunded","created":1700000001,"data":{"object":{"id":"ch_1","customer":null,"amount":4990}}}"#,
            json!([
                "evt_1",
                "charge.refunded",
                1_700_000_001_000_000_i64,
                "ch_1",
                "/data/object",
                "stripe.charge.refunded",
                true,
                null
            ]),
        ),
        (
            STRIPE,
            &[],
            r#"{"data":{"object":{"customer":{"id":"cus_1"},"id":"ch_1"}},"created":1700000001.5,"type":"charge.captured","id":"evt_2"}"#,
            json!([
                "evt_2",
                "charge.captured",
                1_700_000_001_500_000_i64,
                "cus_1",
                "/data/object",
                "stripe.charge.captured",
                true,
                null
            ]),
        ),
        (
            GITHUB,
            &github,
            r#"{"action":"opened","pull_request":{"updated_at":"2026-01-02T05:04:05+02:00"},"repository":{"full_name":"a/b"}}"#,
            json!([
                "g-1",
                "pull_request.opened",
                1_767_323_045_000_000_i64,
                "a/b",
                "",
                "github.pull_request.opened",
                true,
                null
            ]),
        ),
        (
            GITHUB,
            &push,
            r#"{"head_commit":null,"repository":{"full_name":"a/b"}}"#,
            json!([
                "g-2",
                "push",
                1_700_000_000_000_007_i64,
                "a/b",
                "",
                "github.push",
                true,
                null
            ]),
        ),
        (
            GITHUB,
            &ping,
            r#"{"zen":"Design for failure."}"#,
            json!([
                "g-3",
                "ping",
                1_700_000_000_000_007_i64,
                null,
                "",
                "github.ping",
                true,
                "ping"
            ]),
        ),
        (
            GITHUB,
            &check,
            r#"{"action":"created","head_commit":{"timestamp":"soon"}}"#,
            json!([
                "g-4",
                "check_run.created",
                1_700_000_000_000_007_i64,
                null,
                "",
                "github.check_run.created",
                true,
                "check_run.*"
            ]),
        ),
        (
            SHOPIFY,
            &shopify,
            r#"{"admin_graphql_api_id":"gid://shopify/Order/1","updated_at":"x"}"#,
            json!([
                "s-1",
                "orders.create",
                1_767_323_045_123_456_i64,
                "gid://shopify/Order/1",
                "",
                "shopify.orders.create",
                false,
                null
            ]),
        ),
        (
            STANDARD,
            &standard,
            r#"{"type":"user.created","data":{"id":1}}"#,
            json!([
                "m-1",
                "user.created",
                1_700_000_001_000_000_i64,
                null,
                "/data",
                "user.created",
                false,
                null
            ]),
        ),
        (
            "event = { entity = \"/payload/order\", unknown = \"store\" }",
            &[],
            r#"{"event_id":7,"event_type":"a.v1","timestamp":"2026-01-02T03:04:05.000006Z","payload":{"order":9},"schema_version":1}"#,
            json!([
                "7",
                "a.v1",
                1_767_323_045_000_006_i64,
                "9",
                "/payload",
                "a.v1",
                true,
                null
            ]),
        ),
    ] {
        assert_eq!(
            find(event, headers, body),
            Ok(expected),
            "{headers:?} {body}"
        );
    }
}

#[test]
fn the_payload_is_the_bodys_own_text() {
    let mappings = mappings(STRIPE);
    let headers = [("ef.source", Some("acme"))];
    let payload = r#"{ "amount" : 4990.10e0, "customer":"c" ,"text":"\u00fc" }"#;
    let body = format!(r#"{{"id":"e","type":"t","created":0,"data":{{"object":{payload} }}}}"#);
    let found = mappings.find(headers.as_slice(), body.as_bytes()).unwrap();
    assert_eq!(
        (found.payload, found.entity.as_deref()),
        (payload, Some("c"))
    );
    let mappings = self::mappings(GITHUB);
    let headers = [
        ("ef.source", Some("acme")),
        ("ef.received_at", Some("5")),
        ("x-github-delivery", Some("g")),
        ("x-github-event", Some("push")),
    ];
    for (body, payload) in [(" [1, 2]\n", "[1, 2]"), ("{ }", "{ }")] {
        // There is nothing to look for in an array, and an object is expected.
        let found = mappings.find(headers.as_slice(), body.as_bytes());
        assert_eq!(
            found.map(|found| found.payload).ok(),
            body.starts_with('{').then_some(payload)
        );
    }
}

const OWN: &str = "";

#[test]
fn what_is_not_there_or_not_what_it_must_be_has_its_code_and_its_places() {
    use RejectionCode as C;
    let own = |change: &dyn Fn(&mut Value)| {
        let mut body = json!({"event_id": "e", "event_type": "t", "timestamp": "2026-01-02T03:04:05Z", "payload": {}});
        change(&mut body);
        body.to_string()
    };
    let with = |name: &'static str, value: Value| own(&move |body| body[name] = value.clone());
    let without =
        |name: &'static str| own(&move |body| drop(body.as_object_mut().unwrap().remove(name)));
    let no_delivery = [("x-github-event", Some("push"))];
    let twice = [
        ("x-github-event", Some("push")),
        ("x-github-delivery", Some("a")),
        ("x-github-delivery", Some("b")),
    ];
    for (event, headers, body, code, pointer, says) in [
        (
            OWN,
            &[][..],
            without("event_type"),
            C::NoEventType,
            "/event_type",
            "nothing is at /event_type",
        ),
        (
            OWN,
            &[],
            without("event_id"),
            C::NoEventId,
            "/event_id",
            "/event_id",
        ),
        (
            OWN,
            &[],
            with("event_id", json!(null)),
            C::NoEventId,
            "/event_id",
            "/event_id",
        ),
        (
            OWN,
            &[],
            without("timestamp"),
            C::NoEventTime,
            "/timestamp",
            "/timestamp",
        ),
        (
            OWN,
            &[],
            without("payload"),
            C::MissingField,
            "/payload",
            "is required",
        ),
        (
            OWN,
            &[],
            with("payload", json!(null)),
            C::MissingField,
            "/payload",
            "is required",
        ),
        (
            OWN,
            &[],
            with("event_type", json!(["t"])),
            C::WrongType,
            "/event_type",
            "must be a string or a number",
        ),
        (
            OWN,
            &[],
            with("event_id", json!(true)),
            C::WrongType,
            "/event_id",
            "must be a string or a number",
        ),
        (
            OWN,
            &[],
            with("event_id", json!(" ")),
            C::BlankField,
            "/event_id",
            "is blank",
        ),
        (
            OWN,
            &[],
            with("event_id", json!("a\0")),
            C::NulCharacter,
            "/event_id",
            "U+0000",
        ),
        (
            OWN,
            &[],
            with("event_id", json!("ü".repeat(257))),
            C::TooLong,
            "/event_id",
            "257 characters",
        ),
        (
            OWN,
            &[],
            with("event_type", json!("x".repeat(257))),
            C::TooLong,
            "/event_type",
            "257 characters",
        ),
        (
            OWN,
            &[],
            with("timestamp", json!("yesterday")),
            C::InvalidTimestamp,
            "/timestamp",
            "RFC 3339",
        ),
        (
            OWN,
            &[],
            with("timestamp", json!(1_700_000_000)),
            C::InvalidTimestamp,
            "/timestamp",
            "RFC 3339",
        ),
        (
            OWN,
            &[],
            with("timestamp", json!("2026-01-02T03:04:05")),
            C::TimestampWithoutZone,
            "/timestamp",
            "zone",
        ),
        (
            OWN,
            &[],
            with("timestamp", json!("0000-06-01T00:00:00Z")),
            C::TimeOutOfRange,
            "/timestamp",
            "years 1 to 9999",
        ),
        (
            OWN,
            &[],
            with("timestamp", json!("9999-12-31T23:59:59-00:01")),
            C::TimeOutOfRange,
            "/timestamp",
            "years 1 to 9999",
        ),
        (
            OWN,
            &[],
            with("event_id", json!("e")).replace("\"e\"", "\"\\ud800\""),
            C::UnpairedSurrogate,
            "/event_id",
            "surrogate",
        ),
        (
            OWN,
            &[],
            with("event_id", json!("e")).replacen('{', "{\"event_id\":1,", 1),
            C::DuplicateField,
            "/event_id",
            "more than once",
        ),
        (
            OWN,
            &[],
            "[1]".to_owned(),
            C::NotAnObject,
            "",
            "not an object",
        ),
        (
            OWN,
            &[],
            "\"x\"".to_owned(),
            C::NotAnObject,
            "",
            "not an object",
        ),
        (
            OWN,
            &[],
            "{\"event_id\":".to_owned(),
            C::NotJson,
            "",
            "not JSON at line 1 column",
        ),
        (
            OWN,
            &[],
            with("more", json!(1)) + "x",
            C::NotJson,
            "",
            "not JSON",
        ),
        (OWN, &[], String::new(), C::EmptyBody, "", "no value"),
        (
            OWN,
            &[],
            format!("{{\"a\":{}{}}}", "[".repeat(128), "]".repeat(128)),
            C::TooDeep,
            "",
            "128",
        ),
        (
            GITHUB,
            &no_delivery,
            "{}".to_owned(),
            C::NoEventId,
            "",
            "nothing is at header x-github-delivery",
        ),
        (
            GITHUB,
            &twice,
            "{}".to_owned(),
            C::NoEventId,
            "",
            "header x-github-delivery",
        ),
        (
            GITHUB,
            &[],
            "{}".to_owned(),
            C::NoEventType,
            "/action",
            "header x-github-event and /action",
        ),
        (
            STRIPE,
            &[],
            r#"{"id":"e","type":"t","created":"x"}"#.to_owned(),
            C::InvalidTimestamp,
            "/created",
            "number of seconds",
        ),
        (
            STRIPE,
            &[],
            r#"{"id":"e","type":"t","created":1e300}"#.to_owned(),
            C::TimeOutOfRange,
            "/created",
            "years",
        ),
        (
            STRIPE,
            &[],
            r#"{"id":"e","type":"t","created":1,"data":{"object":{"customer":1,"customer":2}}}"#
                .to_owned(),
            C::DuplicateField,
            "/data/object/customer",
            "once",
        ),
        (
            STRIPE,
            &[],
            r#"{"id":"e","type":"t","created":1,"data":1e999}"#.to_owned(),
            C::MissingField,
            "/data/object",
            "is required",
        ),
        (
            STANDARD,
            &[("webhook-id", Some("m"))],
            r#"{"type":"t","data":{}}"#.to_owned(),
            C::NoEventTime,
            "/timestamp",
            "/timestamp or header webhook-timestamp",
        ),
    ] {
        let (found, at, detail) = find(event, headers, &body).unwrap_err();
        assert_eq!((found, at.as_str()), (code, pointer), "{body}: {detail}");
        assert!(detail.contains(says), "{body}: {detail}");
    }
    let too_many: Vec<String> = (0..33).map(|n| format!("\"/p{n}\"")).collect();
    let toml = format!(
        "[[source]]\nname = \"acme\"\nevent = {{ id = [{}] }}",
        too_many.join(",")
    );
    let problem = Mappings::from_toml(&toml).unwrap_err().0;
    assert!(problem.contains("more than 32 places"), "{problem}");
}

#[test]
fn a_source_that_is_not_configured_has_a_code_of_its_own() {
    let mappings = mappings(STRIPE);
    let find = |headers: Headers<'_>| {
        let found = mappings.find(headers, b"{}");
        found.map(drop).unwrap_err()
    };
    for (headers, says) in [
        (&[("ef.source", Some("globex"))][..], "\"globex\""),
        (&[], "no ef.source"),
        (
            &[("ef.source", Some("acme")), ("ef.source", Some("acme"))],
            "no ef.source",
        ),
    ] {
        let rejection = find(headers);
        assert_eq!(rejection.code, RejectionCode::UnknownSource);
        assert!(rejection.detail.contains(says), "{}", rejection.detail);
    }
    let ingest = find(&[("ef.source", Some("ingest"))]);
    assert_eq!(
        ingest.code,
        RejectionCode::NoEventType,
        "what comes by /api/ingest is always known"
    );
    let builtin = Mappings::builtin();
    assert!(builtin.get("payment-authorized").is_some() && builtin.get("acme").is_none());
}

/// The text at a pointer, by a walk over the whole tree.
fn naive(body: &Value, pointer: &str) -> Option<String> {
    let text = match body.pointer(pointer)? {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    let usable = !text.trim().is_empty() && text.chars().count() <= 256 && !text.contains('\0');
    usable.then_some(text)
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[ a\u{0}é\"]{0,3}".prop_map(Value::from),
    ];
    let name = prop_oneof!["[ab]", Just("0".to_owned()), Just("~/".to_owned())];
    leaf.prop_recursive(4, 40, 4, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(name.clone(), inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn one_pass_finds_what_a_walk_of_the_tree_finds(
        body in json_value().prop_filter("an object", Value::is_object),
        pointers in proptest::collection::vec(proptest::collection::vec(prop_oneof!["[ab01]", Just("~0~1".to_owned())], 1..4), 1..6),
    ) {
        let pointers: Vec<String> = pointers.iter().map(|steps| format!("/{}", steps.join("/"))).collect();
        let entity = format!("{pointers:?}");
        let event = format!(
            "[source.event]\nid = {entity}\ntype = {entity}\ntime = \"received\"\npayload = {:?}\nentity = {entity}", pointers[0]
        );
        let expected = pointers.iter().find_map(|pointer| naive(&body, pointer));
        let payload = body.pointer(&pointers[0]).filter(|value| !value.is_null());
        let mappings = mappings(&event);
        let headers = [("ef.source", Some("acme")), ("ef.received_at", Some(RECEIVED))];
        let text = body.to_string();
        match mappings.find(headers.as_slice(), text.as_bytes()) {
            Ok(found) => {
                prop_assert_eq!(Some(&*found.id), expected.as_deref());
                prop_assert_eq!(found.entity.as_deref(), expected.as_deref());
                let found: Value = serde_json::from_str(found.payload).unwrap();
                prop_assert_eq!(Some(&found), payload);
            }
            Err(rejection) => prop_assert!(expected.is_none() || payload.is_none(), "{rejection}: {text} {entity}"),
        }
    }

    #[test]
    fn any_bytes_get_an_answer(body in prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..200),
        "[\\[\\]{}\":,0-9a-e\\\\ ]{0,200}".prop_map(String::into_bytes),
    ]) {
        let event = "[source.event]\nid = \"/a/0/b\"\ntype = [\"/a\", \"/b\"]\ntime = \"received\"\npayload = \"/a\"";
        let mappings = mappings(event);
        let headers = [("ef.source", Some("acme")), ("ef.received_at", Some(RECEIVED))];
        if let Ok(found) = mappings.find(headers.as_slice(), &body) {
            prop_assert!(serde_json::from_str::<serde::de::IgnoredAny>(found.payload).is_ok());
        }
    }
}

//! Schemes that cannot work are refused at start.

use crate::common::{custom, key, verifier};
use contracts::Secret;
use contracts::webhook::scheme::Scheme;
use contracts::webhook::signature::Verifier;

#[test]
fn what_cannot_work_is_refused_at_start_and_secrets_never_show() {
    let refuse = |preset: &str, secret: &str| {
        Verifier::new(
            Scheme::preset(preset).unwrap(),
            vec![key("k", secret, None)],
            None,
        )
        .map(|_| ())
        .unwrap_err()
        .0
    };
    assert!(refuse("eventflow", "").contains("empty"));
    assert!(refuse("standard-webhooks", "whsec_").contains("empty"));
    assert!(!refuse("standard-webhooks", "whsec_topsecret!!").contains("topsecret"));
    assert!(Verifier::new(Scheme::preset("github").unwrap(), vec![], None).is_err());
    let mut scheme = Scheme::preset("eventflow").unwrap();
    scheme.template = "{timestamp}.{bodies}".to_owned();
    assert!(
        Verifier::new(scheme.clone(), vec![key("k", "s", None)], None)
            .unwrap_err()
            .0
            .contains("{bodies}")
    );
    scheme.template = "{body}".to_owned();
    assert!(
        Verifier::new(scheme, vec![key("k", "s", None)], None)
            .unwrap_err()
            .0
            .contains("freshness")
    );
    let shown = format!(
        "{:?} {:?} {}",
        verifier("eventflow", vec![key("k", "topsecret", None)]),
        key("k", "topsecret", None),
        Secret::new("topsecret")
    );
    assert!(!shown.contains("topsecret"), "{shown}");
    assert!(
        Secret::new("abc").ct_eq(b"abc")
            && !Secret::new("abc").ct_eq(b"abd")
            && !Secret::new("abc").ct_eq(b"ab")
    );
}

#[test]
fn a_scheme_that_contradicts_itself_is_refused_at_start() {
    for (fields, says) in [
        (
            serde_json::json!({"template": "{body}{body}"}),
            "exactly once",
        ),
        (serde_json::json!({"template": "{body"}), "without }"),
        (
            serde_json::json!({"template": "{timestamp}{body}"}),
            "timestamp_header",
        ),
        (serde_json::json!({"template": "{id}{body}"}), "id_header"),
        (serde_json::json!({"template": "{url}{body}"}), "public_url"),
        (
            serde_json::json!({"template": "{body}", "timestamp_prefix": "t="}),
            "separator",
        ),
        (
            serde_json::json!({"template": "{body}", "timestamp_header": "a b"}),
            "header name",
        ),
        (
            serde_json::json!({"template": "{body}", "timestamp_header": "x-t", "timestamp_prefix": "t=", "separator": ","}),
            "not both",
        ),
        (
            serde_json::json!({"template": "{body}", "id_header": "x-signature"}),
            "read back",
        ),
        (
            serde_json::json!({"template": "{body}", "prefix": "v1,", "separator": ","}),
            "read back",
        ),
        (
            serde_json::json!({"template": "{body}", "encoding": "base64", "separator": "="}),
            "read back",
        ),
        (
            serde_json::json!({"template": "{timestamp}{body}", "prefix": "t=v1=", "separator": ",", "timestamp_prefix": "t="}),
            "read back",
        ),
        (
            serde_json::json!({"template": "{timestamp}{body}", "separator": ",", "timestamp_prefix": ""}),
            "read back",
        ),
        (
            serde_json::json!({"template": "{body}", "prefix": "v1\n"}),
            "read back",
        ),
    ] {
        let problem = Verifier::new(custom(fields.clone()), vec![key("k", "s", None)], None)
            .map(drop)
            .unwrap_err()
            .0;
        assert!(problem.contains(says), "{fields}: {problem}");
    }
}

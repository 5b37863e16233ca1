//! From the vendor's library to the row.

use super::sdk::{Signed, Unsigned, sign};
use super::{hmac, json_of, pipeline};
use serde_json::json;

/// What a company with these vendors writes.
const SOURCES: &str = r#"
[[source]]
name = "stripe"
preset = "stripe"
secrets = [{ id = "2026-11", from = "env:STRIPE" }]

[[source]]
name = "github"
preset = "github"
secrets = [{ id = "2026-11", from = "env:GITHUB" }]

[[source]]
name = "shopify"
preset = "shopify"
secrets = [{ id = "2026-11", from = "env:SHOPIFY" }]

[[source]]
name = "slack"
preset = "slack"
secrets = [{ id = "2026-11", from = "env:SLACK" }]

[[source]]
name = "twilio"
preset = "twilio"
public_url = "https://hooks.example.com/api/webhooks/twilio"
secrets = [{ id = "2026-11", from = "env:TWILIO" }]

[[source]]
name = "adyen"
preset = "adyen"
secrets = [{ id = "2026-11", from = "env:ADYEN" }]

[[source]]
name = "acme"
preset = "standard-webhooks"
secrets = [{ id = "2026-11", from = "env:ACME" }]
event = { contract = "acme.{type}", unknown = { "invoice.*" = "store", "*" = "dead-letter" }, filter = ["test.*"] }

[[source]]
name = "github-gzip"
preset = "github"
gzip = "signed"
secrets = [{ id = "2026-11", from = "env:GITHUB" }]

[[source]]
name = "acme-gzip"
preset = "standard-webhooks"
gzip = "plain"
secrets = [{ id = "2026-11", from = "env:ACME" }]
"#;

fn gzip(body: &str) -> Vec<u8> {
    use std::io::Write;
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(body.as_bytes()).unwrap();
    packed.finish().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_vendors_libraries_sign_becomes_rows_with_everything_in_its_place() {
    let github = Unsigned::example("github");
    let form = reqwest::Url::parse_with_params("http://x/", [("payload", &github.body)]).unwrap();
    let form = Unsigned::with_body("github", form.query().unwrap())
        .header("content-type", "application/x-www-form-urlencoded")
        .header("x-github-delivery", "form-1");
    let ping = Unsigned::with_body("github", r#"{"zen":"Design for failure.","hook_id":1}"#)
        .header("x-github-event", "ping")
        .header("x-github-delivery", "ping-1");
    let acme = |kind: &str| {
        let body =
            json!({"type": kind, "timestamp": "2026-01-15T12:00:00Z", "data": {"id": "o-1"}});
        Unsigned::with_body("standard-webhooks", body.to_string())
    };
    let requests = [
        Unsigned::example("stripe"),
        github.clone(),
        form,
        ping,
        Unsigned::example("shopify"),
        Unsigned::example("slack"),
        Unsigned::example("twilio"),
        Unsigned::example("adyen"),
        Unsigned::example("standard-webhooks"),
        acme("order.paid"),
        acme("test.hello"),
    ];
    let Some(signed) = sign(&requests) else {
        return;
    };
    let [
        stripe,
        json,
        form,
        ping,
        shopify,
        slack,
        twilio,
        adyen,
        invoice,
        paid,
        test,
    ] = <[Signed; 11]>::try_from(signed).unwrap();
    let secrets = [
        ("STRIPE", &*stripe.secret),
        ("GITHUB", &json.secret),
        ("SHOPIFY", &shopify.secret),
        ("SLACK", &slack.secret),
        ("TWILIO", &twilio.secret),
        ("ADYEN", &adyen.secret),
        ("ACME", &invoice.secret),
    ];
    let pipeline = pipeline(SOURCES, &secrets).await;
    for (source, request) in [
        ("stripe", &stripe),
        ("github", &json),
        ("github", &form),
        ("github", &ping),
        ("shopify", &shopify),
        ("slack", &slack),
        ("acme", &invoice),
    ] {
        let answer = pipeline.accepted(source, request).await;
        assert!(answer.contains("accepted"), "{source}: {answer}");
    }
    assert_eq!(pipeline.accepted("twilio", &twilio).await, "<Response/>");
    assert_eq!(pipeline.accepted("adyen", &adyen).await, "[accepted]");
    // The library gave these the id of the one before: to each source of its own, or with another type, they are events of their own.
    pipeline.accepted("acme", &paid).await;
    pipeline.accepted("acme", &test).await;
    let mut packed = invoice.clone();
    packed
        .headers
        .insert("content-encoding".to_owned(), "gzip".to_owned());
    let (status, answer) = pipeline
        .post("acme-gzip", &packed, gzip(&invoice.body))
        .await;
    assert_eq!(status, 200, "{answer}");
    // No vendor's library here signs bytes that are no text.
    let bytes = gzip(&json.body);
    let mut packed = json.clone();
    let signature = format!("sha256={}", hmac(&json.secret, &bytes));
    for (name, value) in [
        ("content-encoding", "gzip"),
        ("x-hub-signature-256", &signature),
    ] {
        packed.headers.insert(name.to_owned(), value.to_owned());
    }
    let (status, answer) = pipeline.post("github-gzip", &packed, bytes).await;
    assert_eq!(status, 200, "{answer}");
    // A byte that the library did not sign.
    let changed = Signed {
        body: stripe.body.replace("4990", "4991"),
        ..stripe.clone()
    };
    let (status, _) = pipeline
        .post("stripe", &changed, changed.body.clone().into_bytes())
        .await;
    assert_eq!(status, 401);

    let (fates, _) = pipeline.world.account().await;
    let expected = [
        ("stored", 11),
        ("filtered", 2),
        ("dead_lettered unknown_event_type", 1),
    ];
    assert_eq!(
        fates,
        expected
            .map(|(fate, count)| (fate.to_owned(), count))
            .into()
    );
    let noon = "2026-01-15 12:00:00.000000";
    let id = "msg_2Lml3Zf4Y7d0d3ExAmPlE";
    for (source, rows) in [
        (
            "stripe",
            &[[
                "evt_1QEXAMPLE0000000000000001",
                "charge.refunded",
                noon,
                "ch_3QEXAMPLE0000000000000001",
                "stripe.charge.refunded.v1",
                "49.9 EUR",
            ]][..],
        ),
        (
            "github",
            &[
                [
                    "72d3162e-cc78-11e3-81ab-4c9367dc0958",
                    "pull_request.opened",
                    noon,
                    "example-org/hello-world",
                    "any.v1",
                    "",
                ],
                [
                    "form-1",
                    "pull_request.opened",
                    noon,
                    "example-org/hello-world",
                    "any.v1",
                    "",
                ],
            ],
        ),
        (
            "github-gzip",
            &[[
                "72d3162e-cc78-11e3-81ab-4c9367dc0958",
                "pull_request.opened",
                noon,
                "example-org/hello-world",
                "any.v1",
                "",
            ]],
        ),
        (
            "shopify",
            &[[
                "b54557e4-bdd9-4b37-8a5f-bf7d70bcd043",
                "orders.create",
                "2026-01-15 12:00:00.123456",
                "820982911946154508",
                "shopify.orders.create.v1",
                "119.9 EUR",
            ]],
        ),
        (
            "slack",
            &[["Ev9UQ52YNA", "message", noon, "C024BE91L", "any.v1", ""]],
        ),
        (
            "twilio",
            &[[
                "SMEXAMPLE00000000000000000000000001.delivered",
                "delivered",
                "received",
                "SMEXAMPLE00000000000000000000000001",
                "any.v1",
                "",
            ]],
        ),
        (
            "adyen",
            &[
                [
                    "7914073381342284.AUTHORISATION.true",
                    "AUTHORISATION",
                    "2026-01-15 10:00:00.000000",
                    "7914073381342284",
                    "adyen.AUTHORISATION.v1",
                    "11.3 EUR",
                ],
                [
                    "7914073381342285.AUTHORISATION.true",
                    "AUTHORISATION",
                    "2026-01-15 10:00:00.000000",
                    "7914073381342285",
                    "adyen.AUTHORISATION.v1",
                    "25 EUR",
                ],
            ],
        ),
        (
            "acme",
            &[[id, "invoice.paid", noon, "inv_1042", "any.v1", ""]],
        ),
        (
            "acme-gzip",
            &[[id, "invoice.paid", noon, "inv_1042", "any.v1", ""]],
        ),
    ] {
        assert_eq!(pipeline.envelopes(source).await, rows, "{source}");
    }
    // What no contract declares is in the row, whichever form brought it.
    for source in ["github", "github-gzip"] {
        for row in pipeline.rows(source).await.values() {
            assert_eq!(row["payload"], json_of(&github.body), "{source}");
        }
    }
    let row = &pipeline.rows("twilio").await["SMEXAMPLE00000000000000000000000001.delivered"];
    assert_eq!(row["payload"]["Body"], "Two seats & a café");
    let row = &pipeline.rows("stripe").await["evt_1QEXAMPLE0000000000000001"];
    assert_eq!(row["payload"]["billing_details"]["name"], "Ada Example");
    let row = &pipeline.rows("shopify").await["b54557e4-bdd9-4b37-8a5f-bf7d70bcd043"];
    assert_eq!(row["payload"]["line_items"][0]["price"], "119.9");
}

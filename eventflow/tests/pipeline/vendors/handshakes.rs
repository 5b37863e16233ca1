//! What vendors ask before they send events.

use super::sdk::{Signed, Unsigned, sign};
use super::{hmac, json_of, pipeline};
use crate::post::client;
use contracts::kafka::topics;
use runtime::admin::read_all;
use serde_json::json;

/// Vendors that ask before they send.
const ASKING: &str = r#"
[[source]]
name = "slack"
preset = "slack"
secrets = [{ id = "2026-11", from = "env:SLACK" }]

[[source]]
name = "meta"
preset = "meta"
secrets = [{ id = "2026-11", from = "env:META" }]
verify_token = "env:META_VERIFY_TOKEN"

[[source]]
name = "zoom"
preset = "zoom"
secrets = [{ id = "2026-11", from = "env:ZOOM" }]

[[source]]
name = "okta"
preset = "okta"
secrets = [{ id = "2026-11", from = "env:OKTA" }]

[[source]]
name = "twitch"
preset = "twitch"
secrets = [{ id = "2026-11", from = "env:TWITCH" }]

[[source]]
name = "discord"
preset = "discord"
secrets = [{ id = "2026-11", from = "env:DISCORD" }]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn the_vendors_handshakes_succeed_and_are_no_events() {
    let twitch = Unsigned::with_body(
        "twitch",
        r#"{"challenge":"pogchamp-kappa-360noscope-vohiyo"}"#,
    )
    .header(
        "twitch-eventsub-message-type",
        "webhook_callback_verification",
    );
    let requests = [
        Unsigned::with_body(
            "slack",
            r#"{"type":"url_verification","challenge":"3eZbrw1a"}"#,
        ),
        Unsigned::with_body(
            "zoom",
            r#"{"event":"endpoint.url_validation","payload":{"plainToken":"qgg8vlvZRS6UYooatFL8Aw"},"event_ts":1768478400123}"#,
        ),
        twitch,
        Unsigned::with_body("discord", r#"{"version":1,"application_id":"1","type":0}"#),
        Unsigned::with_body("discord", r#"{"type":1,"token":"t","id":"1"}"#),
        Unsigned::example("meta"),
        Unsigned::example("okta"),
    ];
    let Some(signed) = sign(&requests) else {
        return;
    };
    let [slack, zoom, twitch, webhooks, interactions, meta, okta] =
        <[Signed; 7]>::try_from(signed).unwrap();
    let secrets = [
        ("SLACK", &*slack.secret),
        ("META", &meta.secret),
        ("META_VERIFY_TOKEN", "meatyhamhock"),
        ("ZOOM", &zoom.secret),
        ("OKTA", &okta.secret),
        ("TWITCH", &twitch.secret),
        ("DISCORD", &webhooks.secret),
    ];
    let pipeline = pipeline(ASKING, &secrets).await;
    let token = "qgg8vlvZRS6UYooatFL8Aw";
    let zooms =
        json!({"plainToken": token, "encryptedToken": hmac(&zoom.secret, token.as_bytes())});
    for (source, signed, status, expected) in [
        ("slack", &slack, 200, "3eZbrw1a"),
        ("twitch", &twitch, 200, "pogchamp-kappa-360noscope-vohiyo"),
        ("discord", &webhooks, 204, ""),
    ] {
        let answer = pipeline
            .post(source, signed, signed.body.clone().into_bytes())
            .await;
        assert_eq!(answer, (status, expected.to_owned()), "{source}");
    }
    for (source, signed, expected) in [
        ("zoom", &zoom, zooms),
        ("discord", &interactions, json!({"type": 1})),
    ] {
        let answer = pipeline.accepted(source, signed).await;
        assert_eq!(json_of(&answer), expected, "{source}");
    }
    let get = async |path: &str, header: Option<(&str, &str)>| {
        let url = format!("http://{}/api/webhooks/{path}", pipeline.world.edge);
        let mut request = client().get(url);
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let asked = "meta?hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=";
    let (status, answer) = get(&format!("{asked}meatyhamhock"), None).await;
    assert_eq!((status, answer.as_str()), (200, "1158201444"));
    assert_eq!(get(&format!("{asked}other"), None).await.0, 400);
    let challenge = ("x-okta-verification-challenge", "okta-1");
    let (status, answer) = get("okta", Some(challenge)).await;
    assert_eq!(
        (status, json_of(&answer)),
        (200, json!({"verification": "okta-1"}))
    );
    let published = || {
        read_all(&pipeline.broker.kafka(), topics::RAW)
            .unwrap()
            .len()
    };
    assert_eq!(published(), 0, "a handshake is no event");
    // The same secrets take events.
    pipeline.accepted("meta", &meta).await;
    pipeline.accepted("okta", &okta).await;
    let (fates, _) = pipeline.world.account().await;
    assert_eq!(fates, [("stored".to_owned(), 2)].into());
}

//! An export, line by line against the rows.

use crate::filled;
use crate::index_world::{Made, ours, take};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use contracts::RejectionCode;
use recovery::model::{DeadLetterState, Selection};
use recovery::query::export;

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_verbatim_page_by_page() {
    let from = filled().await;
    let strange = Made {
        key: Some(vec![0, 255]),
        value: Some(vec![0, 1, 2, 0xff]),
        ..ours(700, RejectionCode::NotUtf8)
    };
    let null = Made {
        key: None,
        value: None,
        ..ours(701, RejectionCode::EmptyBody)
    };
    let nul_header = ours(702, RejectionCode::NotUtf8)
        .with("x", vec![0])
        .with("ef.dlq.detail", "<b>\u{1b}[2J'; --");
    take(&mut from.index(), &[strange, null, nul_header]).unwrap();
    let all = Selection {
        state: vec![
            DeadLetterState::Open,
            DeadLetterState::Replaying,
            DeadLetterState::Resolved,
            DeadLetterState::Discarded,
        ],
        limit: Some(100),
        ..Selection::default()
    };
    let (mut before, mut lines) = (None, Vec::new());
    loop {
        let (page, next) = export::export(&from.recovery, &all, before).await.unwrap();
        lines.extend(page);
        before = next;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(lines.len(), 603);
    for line in &lines {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let bytes = |field: &str| {
            let text = line[field]
                .get("text")
                .map(|text| text.as_str().unwrap().as_bytes().to_vec());
            let decoded = line[field]
                .get("base64")
                .map(|text| STANDARD.decode(text.as_str().unwrap()).unwrap());
            text.or(decoded)
        };
        // Whatever the line says is in the row with its position, and nothing else.
        let same: bool = sqlx::query_scalar(
            "SELECT d.state = $3 AND d.value IS NOT DISTINCT FROM $4 AND d.key IS NOT DISTINCT FROM $5
                    AND encode(d.value_sha256, 'hex') IS NOT DISTINCT FROM $6 AND d.headers::jsonb = $7::jsonb
                    AND (g.stage, g.code, g.source, g.event_type) = ($8, $9, $10, $11) AND d.detail = $12
                    AND d.event_id IS NOT DISTINCT FROM $13 AND d.reason IS NOT DISTINCT FROM $14
                    AND d.resolution IS NOT DISTINCT FROM $15 AND d.origin_topic = $16 AND d.origin_offset = $17
             FROM dead_letters d JOIN groups g ON g.id = d.group_id WHERE d.dlq_partition = $1 AND d.dlq_offset = $2",
        )
        .bind(i32::try_from(line["dlq"][0].as_i64().unwrap()).unwrap())
        .bind(line["dlq"][1].as_i64())
        .bind(line["state"].as_str())
        .bind(bytes("value"))
        .bind(bytes("key"))
        .bind(line["value_sha256"].as_str())
        .bind(line["headers"].to_string())
        .bind(line["stage"].as_str())
        .bind(line["code"].as_str())
        .bind(line["source"].as_str())
        .bind(line["event_type"].as_str())
        .bind(line["detail"].as_str())
        .bind(line["event_id"].as_str())
        .bind(line["reason"].as_str())
        .bind(line["resolution"].as_str())
        .bind(line["origin"][0].as_str())
        .bind(line["origin"][2].as_i64())
        .fetch_one(&from.pool)
        .await
        .unwrap();
        assert!(same, "{line}");
    }
}

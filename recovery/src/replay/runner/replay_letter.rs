//! A dead letter as a replay would send it: loaded from the index, made into a record of the retry topic.

use crate::model::DeadLetterState;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use contracts::kafka::headers as h;
use runtime::publisher::RecordHeaders;
use sha2::{Digest, Sha256};
use sqlx::{FromRow, PgConnection};
use store::raw_topic::id_of;
use store::row::RawPosition;

/// Headers in order; none is a null value.
pub(crate) type Headers = Vec<(String, Option<Vec<u8>>)>;

/// What a replay needs to know of a dead letter.
#[derive(Debug, Clone)]
pub(crate) struct ReplayLetter {
    pub(crate) id: i64,
    pub(crate) state: DeadLetterState,
    /// The replay it is, or was last, part of
    pub(crate) job: Option<String>,
    /// That failed: what it sent to is where a replay goes
    pub(crate) group: String,
    /// Of what its origin names, whatever topic that is
    pub(crate) origin: RawPosition,
    pub(crate) replay_count: i32,
    pub(crate) key: Option<Vec<u8>>,
    /// As it failed; none is Kafka's null, or [`dropped`](Self::dropped)
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) value_sha256: Option<Vec<u8>>,
    /// Retention dropped the value
    pub(crate) dropped: bool,
    pub(crate) headers: Headers,
    pub(crate) edit: Option<EditedValue>,
    /// What its edge could not prove; none: all is proven
    pub(crate) unproven: Option<String>,
    /// Who said that the vendor sent it although it was not verified
    pub(crate) genuine_by: Option<String>,
    /// It is no dead letter but a stored event's raw record, whose row has this contract
    pub(crate) revalidates: Option<String>,
}

/// What a person made of the value.
#[derive(Debug, Clone)]
pub(crate) struct EditedValue {
    pub(crate) id: i64,
    pub(crate) by: String,
    pub(crate) value: Vec<u8>,
    /// Of what is sent; none: that of the dead letter
    pub(crate) key: Option<Vec<u8>>,
}

/// As it is stored: the edit's columns are null where there is none.
#[derive(FromRow)]
struct ReplayLetterRow {
    id: i64,
    state: DeadLetterState,
    job: Option<String>,
    group: String,
    #[sqlx(flatten)]
    raw: RawPosition,
    replay_count: i32,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    value_sha256: Option<Vec<u8>>,
    dropped: bool,
    headers: String,
    edit_id: Option<i64>,
    edited_by: Option<String>,
    edited: Option<Vec<u8>>,
    edited_key: Option<Vec<u8>>,
    unproven: Option<String>,
    genuine_by: Option<String>,
}

const COLUMNS: &str =
    "SELECT d.id, d.state, d.job_id AS job, d.consumer_group AS \"group\", d.origin_partition AS raw_partition,
        substr(d.origin_topic, strpos(d.origin_topic || '@', '@')) AS raw_epoch, d.origin_offset AS raw_offset, d.replay_count, d.key, d.value,
        d.value_sha256, d.value IS NULL AND d.value_bytes IS NOT NULL AS dropped, d.headers::text, e.id AS edit_id, e.edited_by, e.value AS edited,
        e.key AS edited_key, d.unproven, d.genuine_by
 FROM dead_letters d LEFT JOIN edits e ON e.id = d.edit_id WHERE d.id = ANY($1) ORDER BY d.id";

/// These dead letters, by number; those that are not there are left out.
pub(crate) async fn load(
    connection: &mut PgConnection,
    ids: &[i64],
) -> Result<Vec<ReplayLetter>, sqlx::Error> {
    let rows: Vec<ReplayLetterRow> = sqlx::query_as(COLUMNS)
        .bind(ids)
        .fetch_all(connection)
        .await?;
    rows.into_iter().map(letter_of).collect()
}

/// As [`load`], locked until the transaction ends. In the order of their numbers, as everybody locks them.
pub(crate) async fn lock(
    connection: &mut PgConnection,
    ids: &[i64],
) -> Result<Vec<ReplayLetter>, sqlx::Error> {
    let query = sqlx::AssertSqlSafe(format!("{COLUMNS} FOR UPDATE OF d"));
    let rows: Vec<ReplayLetterRow> = sqlx::query_as(query)
        .bind(ids)
        .fetch_all(connection)
        .await?;
    rows.into_iter().map(letter_of).collect()
}

fn letter_of(row: ReplayLetterRow) -> Result<ReplayLetter, sqlx::Error> {
    let edit = match (row.edit_id, row.edited_by, row.edited) {
        (Some(id), Some(by), Some(value)) => Some(EditedValue {
            id,
            by,
            value,
            key: row.edited_key,
        }),
        (_, _, _) => None,
    };
    Ok(ReplayLetter {
        id: row.id,
        state: row.state,
        job: row.job,
        group: row.group,
        origin: row.raw,
        replay_count: row.replay_count,
        key: row.key,
        value: row.value,
        value_sha256: row.value_sha256,
        dropped: row.dropped,
        headers: headers_of(&row.headers).map_err(|problem| sqlx::Error::Decode(problem.into()))?,
        edit,
        unproven: row.unproven,
        genuine_by: row.genuine_by,
        revalidates: None,
    })
}

/// `[[name, text or null or {"base64": ...}], ...]`
pub(crate) fn headers_of(text: &str) -> Result<Headers, String> {
    let pairs: Vec<(String, serde_json::Value)> =
        serde_json::from_str(text).map_err(|error| format!("headers: {error}"))?;
    let value_of = |value: serde_json::Value| match value {
        serde_json::Value::Null => Ok(None),
        serde_json::Value::String(text) => Ok(Some(text.into_bytes())),
        other => {
            let bytes = other
                .get("base64")
                .and_then(|text| STANDARD.decode(text.as_str()?).ok());
            bytes
                .map(Some)
                .ok_or_else(|| "headers: neither text, null nor base64".to_owned())
        }
    };
    pairs
        .into_iter()
        .map(|(name, value)| Ok((name, value_of(value)?)))
        .collect()
}

impl ReplayLetter {
    /// False while nobody knows whether its vendor sent it.
    pub(crate) fn is_genuine(&self) -> bool {
        match self.unproven.as_deref() {
            None | Some("stale") => true,
            Some(_) => self.genuine_by.is_some(),
        }
    }

    /// The value a replay would send now.
    pub(crate) fn outgoing(&self) -> Option<&[u8]> {
        self.edit
            .as_ref()
            .map(|edit| edit.value.as_slice())
            .or(self.value.as_deref())
    }

    /// The key a replay would send now.
    pub(crate) fn outgoing_key(&self) -> Option<&[u8]> {
        let edited = self.edit.as_ref().and_then(|edit| edit.key.as_deref());
        edited.or(self.key.as_deref())
    }

    /// The first header of that name, as text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(key, _)| key == name)?;
        std::str::from_utf8(value.as_deref()?).ok()
    }

    /// The `ef.raw` of what is sent: its own header, else where it comes from.
    pub(crate) fn raw_text(&self) -> String {
        self.header(h::RAW)
            .map_or_else(|| raw_header(&self.origin), str::to_owned)
    }

    /// The headers of what is sent: its own, in order, without the verdict, then what the replay says of itself. What was edited once stays
    /// edited, also when its replay failed again and nobody edits it any more; its original is that of the first edit.
    pub(crate) fn retry_headers(&self, job: &str, count: i32) -> Headers {
        let (again, ours) = (
            [h::EDITED_BY, h::ORIGINAL_HASH],
            [h::REPLAY_ID, h::REPLAY_COUNT, h::REVALIDATES],
        );
        let ours: Vec<&str> = if self.edit.is_some() {
            [&again[..], &ours[..]].concat()
        } else {
            ours.to_vec()
        };
        let stays = |name: &str| {
            !ours.contains(&name)
                && name != h::GENUINE_BY
                && (!h::dlq::ALL.contains(&name) || name == h::dlq::FIRST_FAILED_AT)
        };
        let mut headers: Headers = self
            .headers
            .iter()
            .filter(|(name, _)| stays(name))
            .cloned()
            .collect();
        let mut add =
            |name: &str, value: String| headers.push((name.to_owned(), Some(value.into_bytes())));
        if !self.headers.iter().any(|(name, _)| name == h::RAW) {
            add(h::RAW, self.raw_text());
        }
        // Also where its headers were dropped by retention: what it is not, it does not become by that.
        if let Some(unproven) = &self.unproven
            && !self.headers.iter().any(|(name, _)| name == h::UNPROVEN)
        {
            add(h::UNPROVEN, unproven.clone());
        }
        if let Some(who) = &self.genuine_by {
            add(h::GENUINE_BY, who.clone());
        }
        if let Some(contract) = &self.revalidates {
            add(h::REVALIDATES, contract.clone());
        }
        add(h::REPLAY_ID, job.to_owned());
        add(h::REPLAY_COUNT, count.to_string());
        if let Some(edit) = &self.edit {
            add(h::EDITED_BY, edit.by.clone());
            let digest = || {
                let digest = Sha256::digest(self.value.as_deref().unwrap_or_default());
                self.value_sha256.clone().unwrap_or_else(|| digest.to_vec())
            };
            let original = self.header(h::ORIGINAL_HASH).map_or_else(
                || format!("sha256:{}", hex::encode(digest())),
                str::to_owned,
            );
            add(h::ORIGINAL_HASH, original);
        }
        headers
    }
}

/// How `ef.raw` names a raw record.
pub(crate) fn raw_header(raw: &RawPosition) -> String {
    let coordinates = h::RawCoordinates {
        topic_id: id_of(&raw.epoch),
        partition: raw.partition,
        offset: raw.offset,
    };
    coordinates.to_string()
}

/// As an HTTP request had them; what is no HTTP header is left out.
pub(crate) fn header_map(headers: &Headers) -> HeaderMap {
    let pair = |(name, value): &(String, Option<Vec<u8>>)| {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        Some((name, HeaderValue::from_bytes(value.as_deref()?).ok()?))
    };
    let mut map = HeaderMap::new();
    for (name, value) in headers.iter().filter_map(pair) {
        map.append(name, value);
    }
    map
}

/// As the publisher takes them.
pub(crate) fn record_headers(headers: &Headers) -> RecordHeaders {
    headers
        .iter()
        .fold(RecordHeaders::new(headers.len()), |all, (name, value)| {
            all.with(name, value.as_deref())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(headers: &[(&str, &str)], edit: Option<&str>) -> ReplayLetter {
        ReplayLetter {
            id: 1,
            state: DeadLetterState::Open,
            job: None,
            group: "eventflow-validator".to_owned(),
            origin: RawPosition::new(3, 4),
            replay_count: 1,
            key: None,
            value: Some(b"now".to_vec()),
            value_sha256: Some(vec![0xab; 32]),
            dropped: false,
            headers: headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), Some(value.as_bytes().to_vec())))
                .collect(),
            edit: edit.map(|by| EditedValue {
                id: 7,
                by: by.to_owned(),
                value: b"edited".to_vec(),
                key: None,
            }),
            unproven: None,
            genuine_by: None,
            revalidates: None,
        }
    }

    fn sent(letter: &ReplayLetter, name: &str) -> Vec<String> {
        let all = letter
            .retry_headers("job", 2)
            .into_iter()
            .filter(|(key, _)| key == name);
        all.filter_map(|(_, value)| String::from_utf8(value?).ok())
            .collect()
    }

    #[test]
    fn only_the_word_of_a_person_makes_an_unverified_one_genuine() {
        let forged = [(h::UNPROVEN, "unverified"), (h::GENUINE_BY, "mallory")];
        let unverified = |genuine_by: Option<&str>| ReplayLetter {
            unproven: Some("unverified".to_owned()),
            genuine_by: genuine_by.map(str::to_owned),
            ..letter(&forged, None)
        };
        assert!(!unverified(None).is_genuine());
        assert_eq!(sent(&unverified(None), h::GENUINE_BY), Vec::<String>::new());
        let vouched = unverified(Some("ann"));
        assert!(vouched.is_genuine());
        assert_eq!(sent(&vouched, h::GENUINE_BY), ["ann"]);
        assert_eq!(sent(&vouched, h::UNPROVEN), ["unverified"]);
        let without_headers = ReplayLetter {
            headers: Vec::new(),
            ..unverified(None)
        };
        assert_eq!(sent(&without_headers, h::UNPROVEN), ["unverified"]);
    }

    #[test]
    fn what_was_edited_once_stays_edited_and_its_original_is_the_first() {
        let first = letter(&[], Some("ann"));
        assert_eq!(
            (sent(&first, h::EDITED_BY), sent(&first, h::ORIGINAL_HASH)),
            (
                vec!["ann".to_owned()],
                vec![format!("sha256:{}", "ab".repeat(32))]
            )
        );
        let before = [
            (h::EDITED_BY, "ann"),
            (h::ORIGINAL_HASH, "sha256:first"),
            (h::REPLAY_ID, "old"),
            (h::REPLAY_COUNT, "1"),
        ];
        for (again, by) in [
            (letter(&before, None), "ann"),
            (letter(&before, Some("bob")), "bob"),
        ] {
            assert_eq!(
                (sent(&again, h::EDITED_BY), sent(&again, h::ORIGINAL_HASH)),
                (vec![by.to_owned()], vec!["sha256:first".to_owned()])
            );
            assert_eq!(
                (sent(&again, h::REPLAY_ID), sent(&again, h::REPLAY_COUNT)),
                (vec!["job".to_owned()], vec!["2".to_owned()])
            );
        }
        assert_eq!(sent(&letter(&[], None), h::EDITED_BY), Vec::<String>::new());
    }
}

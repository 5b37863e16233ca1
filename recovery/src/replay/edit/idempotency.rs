//! A patch may do more each time it is applied (append, move, remove): it is applied once a key, and the same again is answered as before.

use crate::error::RecoveryError;
use crate::model::{EditSummary, Selection};
use sha2::{Digest, Sha256};
use sqlx::PgConnection;

/// The key its sender gave a patch, and the patch.
pub(super) struct Idempotency<'a> {
    key: &'a str,
    request: Vec<u8>,
}

impl<'a> Idempotency<'a> {
    pub(super) fn new(
        key: &'a str,
        selection: &Selection,
        patch: &str,
    ) -> Result<Self, RecoveryError> {
        if !(1..=200).contains(&key.len()) || key.contains('\0') {
            return Err(RecoveryError::Invalid(
                "an idempotency key must have 1 to 200 bytes, none of them NUL".to_owned(),
            ));
        }
        let selection = serde_json::to_string(selection)
            .map_err(|error| RecoveryError::Invalid(error.to_string()))?;
        let mut request = Sha256::new();
        request.update(selection.len().to_be_bytes());
        request.update(&selection);
        request.update(patch);
        Ok(Self {
            key,
            request: request.finalize().to_vec(),
        })
    }

    /// Takes the key in the transaction that will patch; or, when it has been used, answers what was answered then. A second request that
    /// comes meanwhile waits for the first to end.
    pub(super) async fn begin(
        &self,
        connection: &mut PgConnection,
    ) -> Result<Option<EditSummary>, RecoveryError> {
        let taken = sqlx::query("INSERT INTO done_once (key, asked, answer) VALUES ($1, $2, '{}') ON CONFLICT DO NOTHING")
            .bind(self.key)
            .bind(&self.request)
            .execute(&mut *connection)
            .await?;
        if taken.rows_affected() == 1 {
            return Ok(None);
        }
        let known: Option<(Vec<u8>, String)> =
            sqlx::query_as("SELECT asked, answer::text FROM done_once WHERE key = $1")
                .bind(self.key)
                .fetch_optional(connection)
                .await?;
        let Some((request, answer)) = known else {
            return Err(RecoveryError::Unavailable(
                "this idempotency key expired just now; try again".to_owned(),
            ));
        };
        if request != self.request {
            return Err(RecoveryError::WrongState(
                "this idempotency key belongs to another patch; use a new key".to_owned(),
            ));
        }
        let answer =
            serde_json::from_str(&answer).map_err(|error| sqlx::Error::Decode(error.into()))?;
        Ok(Some(answer))
    }

    /// Keeps the answer, in the transaction that patched.
    pub(super) async fn end(
        &self,
        connection: &mut PgConnection,
        answer: &EditSummary,
    ) -> Result<(), sqlx::Error> {
        let answer =
            serde_json::to_string(answer).map_err(|error| sqlx::Error::Encode(error.into()))?;
        let keep = sqlx::query(
            "UPDATE done_once SET answer = $2::json, at = clock_timestamp() WHERE key = $1",
        );
        keep.bind(self.key)
            .bind(answer)
            .execute(connection)
            .await
            .map(drop)
    }
}

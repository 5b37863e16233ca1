//! A patch may do more each time it is applied (append, move, remove): it is applied once a key, and the same again is answered as before.

use super::Edited;
use crate::error::RecoveryError;
use crate::model::Selection;
use sha2::{Digest, Sha256};
use sqlx::{PgConnection, Row};

/// The key its sender gave a patch, and the patch.
pub(super) struct Once<'a> {
    key: &'a str,
    asked: Vec<u8>,
}

impl<'a> Once<'a> {
    pub(super) fn new(
        key: &'a str,
        selection: &Selection,
        patch: &str,
    ) -> Result<Self, RecoveryError> {
        if !(1..=200).contains(&key.len()) || key.contains('\0') {
            return Err(RecoveryError::Invalid(
                "an idempotency key has 1 to 200 bytes, none of them NUL".to_owned(),
            ));
        }
        let selection = serde_json::to_string(selection)
            .map_err(|error| RecoveryError::Invalid(error.to_string()))?;
        let mut asked = Sha256::new();
        asked.update(selection.len().to_be_bytes());
        asked.update(&selection);
        asked.update(patch);
        Ok(Self {
            key,
            asked: asked.finalize().to_vec(),
        })
    }

    /// Takes the key in the transaction that will patch; or, when it has been used, answers what was answered then. Who comes while the first
    /// is still at it waits for its end.
    pub(super) async fn begin(
        &self,
        connection: &mut PgConnection,
    ) -> Result<Option<Edited>, RecoveryError> {
        let taken = sqlx::query("INSERT INTO done_once (key, asked, answer) VALUES ($1, $2, '{}') ON CONFLICT DO NOTHING")
            .bind(self.key)
            .bind(&self.asked)
            .execute(&mut *connection)
            .await?;
        if taken.rows_affected() == 1 {
            return Ok(None);
        }
        let known =
            sqlx::query("SELECT asked, answer::text FROM done_once WHERE key = $1").bind(self.key);
        let Some(row) = known.fetch_optional(connection).await? else {
            return Err(RecoveryError::Unavailable(
                "this idempotency key was forgotten just now; try again".to_owned(),
            ));
        };
        if row.try_get::<Vec<u8>, _>(0)? != self.asked {
            return Err(RecoveryError::WrongState(
                "this idempotency key belongs to another patch; use a new key".to_owned(),
            ));
        }
        let answer: String = row.try_get(1)?;
        let answer =
            serde_json::from_str(&answer).map_err(|error| sqlx::Error::Decode(error.into()))?;
        Ok(Some(answer))
    }

    /// Keeps the answer, in the transaction that patched.
    pub(super) async fn end(
        &self,
        connection: &mut PgConnection,
        answer: &Edited,
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

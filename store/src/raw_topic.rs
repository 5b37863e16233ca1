//! Which raw topic the coordinates of a database are of. A topic that is deleted and created again has the same name, counts its offsets from
//! 0 again, and has another id: records of the topic a database began with have an empty epoch, those of any other its id.

use crate::fault::classify;
use crate::row::RawPosition;
use contracts::kafka::headers::RawCoordinates;
use runtime::consumer::StageError;
use runtime::faults;
use sqlx::postgres::PgPool;

/// The raw topic a database began with: the first whose id it saw. Records that name no id are of it (they are of version 0.1, or of a
/// broker without ids).
#[derive(Debug, Clone, Default)]
pub struct RawTopic(Option<String>);

impl RawTopic {
    /// That topic, when no database is there to ask.
    #[must_use]
    pub fn known(topic_id: &str) -> Self {
        Self(Some(topic_id.to_owned()))
    }

    /// Remembers the first id of a batch as the database's, if that has none yet, and learns which it is. Asks the database once.
    ///
    /// # Errors
    /// [`StageError`]
    pub async fn learn<'a>(
        &mut self,
        pool: &PgPool,
        seen: impl IntoIterator<Item = RawCoordinates<'a>>,
    ) -> Result<(), StageError> {
        if self.0.is_some() {
            return Ok(());
        }
        let Some(id) = seen.into_iter().find_map(|raw| raw.topic_id) else {
            return Ok(());
        };
        sqlx::query("INSERT INTO raw_topic (topic_id) VALUES ($1) ON CONFLICT DO NOTHING")
            .bind(id)
            .execute(pool)
            .await
            .map_err(classify)?;
        let known = sqlx::query_scalar("SELECT topic_id FROM raw_topic").fetch_one(pool);
        self.0 = Some(known.await.map_err(classify)?);
        Ok(())
    }

    /// Its id, once it was learned.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// Empty for records of this topic, else `@` and the id of the other.
    #[must_use]
    pub fn epoch(&self, topic_id: Option<&str>) -> String {
        match topic_id {
            Some(_) if faults::planted("topic_id_ignored") => String::new(),
            Some(id) if self.0.as_deref() != Some(id) => format!("@{id}"),
            Some(_) | None => String::new(),
        }
    }

    /// Coordinates as the database has them.
    #[must_use]
    pub fn position(&self, raw: RawCoordinates<'_>) -> RawPosition {
        RawPosition {
            epoch: self.epoch(raw.topic_id),
            partition: raw.partition,
            offset: raw.offset,
        }
    }
}

/// The id in an epoch; `None` in that of the topic the database began with.
#[must_use]
pub fn id_of(epoch: &str) -> Option<&str> {
    epoch.strip_prefix('@')
}

//! Schemas by id, from any Confluent-compatible registry. There is no other path to a schema.
//!
//! Schemas are registered through `schema_registry_converter`. The look-up by id is a request of our own: that crate reports every failure
//! as text, and whether the registry is down or does not know an id decides between waiting and a dead letter.

use crate::config::ConfigError;
use crate::consumer::StageError;
use crate::http_client;
use contracts::avro::datum::{DatumError, Decoder, Event};
use contracts::avro::framing;
use contracts::{Rejection, RejectionCode, Secret};
use reqwest::StatusCode;
use schema_registry_converter::async_impl::schema_registry::{SrSettings, post_schema};
use schema_registry_converter::error::SRCError;
use schema_registry_converter::schema_registry_common::{
    SchemaType, SubjectNameStrategy, SuppliedSchema,
};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Where the schema registry is.
#[derive(Debug, Clone, clap::Args)]
pub struct RegistryArgs {
    /// URL of a Confluent-compatible schema registry
    #[arg(
        help_heading = "Schema registry",
        long,
        env = "EVENTFLOW_REGISTRY_URL",
        hide_env_values = true,
        default_value = "http://127.0.0.1:8081"
    )]
    pub registry_url: String,
    /// User name for the registry (basic authentication)
    #[arg(
        help_heading = "Schema registry",
        long,
        env = "EVENTFLOW_REGISTRY_USERNAME"
    )]
    pub registry_username: Option<String>,
    /// Password for the registry
    #[arg(
        help_heading = "Schema registry",
        long,
        env = "EVENTFLOW_REGISTRY_PASSWORD",
        hide_env_values = true
    )]
    pub registry_password: Option<Secret>,
}

impl RegistryArgs {
    /// A registry that needs no password.
    #[must_use]
    pub fn at(url: impl Into<String>) -> Self {
        Self {
            registry_url: url.into(),
            registry_username: None,
            registry_password: None,
        }
    }
}

/// Why a schema is not known.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RegistryError {
    /// The registry is down, refuses us, or answers something else than a schema: wait
    #[error("schema registry: {0}")]
    Unavailable(String),
    /// The registry answered that it has no such schema id: it is another one, was restored, or lags behind
    #[error(
        "the schema registry has no schema {0}, which a record names: restore it, or point --registry-url at the one the validator uses"
    )]
    UnknownId(i32),
    /// The schema exists and is not one of ours
    #[error(
        "schema {id} of the schema registry cannot be used: {problem}; point --registry-url at the one the validator uses"
    )]
    Unusable {
        /// Schema id
        id: i32,
        /// What is wrong with it
        problem: String,
    },
}

impl RegistryError {
    /// Stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "registry_unavailable",
            Self::UnknownId(_) => "schema_not_found",
            Self::Unusable { .. } => "unusable_schema",
        }
    }
}

/// Nothing that a registry answers is a record's fault: the validator wrote the record with a schema that was there.
impl From<RegistryError> for StageError {
    fn from(error: RegistryError) -> Self {
        Self::wait(error.code(), error)
    }
}

/// Longest a call to the registry may take.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The registry's own code for an id it does not have, in the body of a 404. A proxy's 404 page has none.
const SCHEMA_NOT_FOUND: i64 = 40403;

/// Between two readings of one schema. Who must know sooner whether it changed waits so long.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// A client of the registry. What it learned is kept, until a record does not fit it.
pub struct Registry {
    settings: SrSettings,
    client: reqwest::Client,
    args: RegistryArgs,
    decoders: HashMap<i32, Known>,
}

/// A schema as it was read.
struct Known {
    schema: String,
    decoder: Arc<Decoder>,
    /// What it was before it changed: records of both may be in a topic
    before: Option<Arc<Decoder>>,
    read_at: Instant,
}

impl Known {
    fn decode<'a>(&self, datum: &'a [u8]) -> Result<Event<'a>, DatumError> {
        self.decoder.decode(datum).or_else(|problem| {
            let before = self.before.as_ref().map(|before| before.decode(datum));
            before.and_then(Result::ok).ok_or(problem)
        })
    }
}

/// The answer to `GET /schemas/ids/{id}`.
#[derive(serde::Deserialize)]
struct SchemaById {
    schema: String,
}

/// The body of a refusal.
#[derive(serde::Deserialize)]
struct RegistryRefusal {
    error_code: i64,
}

/// A framed value, read with its writer's schema.
#[derive(Debug)]
pub struct Framed<'a> {
    /// The writer's schema: its id in the schema registry
    pub schema_id: i32,
    /// The event it holds
    pub event: Event<'a>,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry")
            .field("decoders", &self.decoders.len())
            .finish_non_exhaustive()
    }
}

impl Registry {
    /// Every call to the registry ends within two seconds.
    ///
    /// # Errors
    /// A URL the HTTP client refuses.
    pub fn new(args: &RegistryArgs) -> Result<Self, ConfigError> {
        // Not quoted: it may hold a password.
        let url = args.registry_url.parse::<axum::http::Uri>().ok();
        let url = url.filter(|url| matches!(url.scheme_str(), Some("http" | "https")));
        if url.is_none_or(|url| url.host().is_none_or(str::is_empty)) {
            return Err(ConfigError::new(
                "--registry-url",
                "must be an http:// or https:// URL",
            ));
        }
        let bad = |problem: String| ConfigError::new("--registry-url", problem);
        let mut builder =
            SrSettings::new_builder(args.registry_url.trim_end_matches('/').to_owned());
        builder.set_timeout(TIMEOUT);
        if let Some(user) = &args.registry_username {
            let password = args
                .registry_password
                .as_ref()
                .map(|p| String::from_utf8_lossy(p.expose()).into_owned());
            builder.set_basic_authorization(user, password.as_deref());
        }
        let client = http_client::builder().timeout(TIMEOUT).build();
        Ok(Self {
            settings: builder
                .build_with(http_client::builder())
                .map_err(|error| bad(error.to_string()))?,
            client: client.map_err(|error| bad(error.to_string()))?,
            args: args.clone(),
            decoders: HashMap::new(),
        })
    }

    /// The id under which records of this schema are written to `topic` (subject by TopicRecordName).
    /// Registering the same schema again answers the same id, so this is safe on every start.
    ///
    /// # Errors
    /// [`RegistryError::Unavailable`] whatever the registry answers: no record is at fault.
    pub async fn register(
        &self,
        topic: &str,
        record_name: &str,
        avsc: &str,
    ) -> Result<i32, RegistryError> {
        let supplied = SuppliedSchema::new(
            Some(record_name.to_owned()),
            SchemaType::Avro,
            avsc.to_owned(),
        );
        let subject = SubjectNameStrategy::TopicRecordNameStrategyWithSchema(
            topic.to_owned(),
            supplied.clone(),
        );
        let subject = subject.get_subject().map_err(unavailable)?;
        let registered = post_schema(&self.settings, subject, supplied)
            .await
            .map_err(unavailable)?;
        i32::try_from(registered.id).map_err(|_| {
            RegistryError::Unavailable(format!("schema id {} is out of range", registered.id))
        })
    }

    /// The decoder of a schema id, looked up once.
    ///
    /// # Errors
    /// [`RegistryError`]
    pub async fn decoder(&mut self, id: i32) -> Result<Arc<Decoder>, RegistryError> {
        Ok(Arc::clone(&self.known(id, None).await?.decoder))
    }

    /// A schema; where an instant is given, read since then, but at most once a second.
    async fn known(&mut self, id: i32, since: Option<Instant>) -> Result<&Known, RegistryError> {
        let (fresh, again_at) = match self.decoders.get(&id) {
            Some(known) => (
                since.is_none_or(|since| known.read_at >= since),
                Some(known.read_at + READ_AGAIN),
            ),
            None => (false, None),
        };
        if !fresh {
            if let Some(again_at) = again_at {
                tokio::time::sleep_until(again_at.into()).await;
            }
            self.read(id).await?;
        }
        self.decoders.get(&id).ok_or(RegistryError::UnknownId(id))
    }

    /// Reads a schema from the registry.
    async fn read(&mut self, id: i32) -> Result<(), RegistryError> {
        // It is as it was at this time at the earliest.
        let read_at = Instant::now();
        let schema = self.look_up(id).await?;
        if let Some(known) = self.decoders.get_mut(&id)
            && known.schema == schema
        {
            known.read_at = read_at;
            return Ok(());
        }
        let decoder = Decoder::new(&schema).map_err(|problem| RegistryError::Unusable {
            id,
            problem: problem.to_string(),
        })?;
        let before = self.decoders.remove(&id).map(|known| known.decoder);
        let known = Known {
            schema,
            decoder: Arc::new(decoder),
            before,
            read_at,
        };
        self.decoders.insert(id, known);
        Ok(())
    }

    /// A deleted schema is found too: records written with it are still there.
    async fn look_up(&self, id: i32) -> Result<String, RegistryError> {
        let unavailable =
            |error: reqwest::Error| RegistryError::Unavailable(causes(&error.without_url()));
        let url = self.args.registry_url.trim_end_matches('/');
        let mut request = self
            .client
            .get(format!("{url}/schemas/ids/{id}?deleted=true"))
            .header("accept", "application/vnd.schemaregistry.v1+json");
        if let Some(user) = &self.args.registry_username {
            let password = self.args.registry_password.as_ref();
            let password = password.map(|password| String::from_utf8_lossy(password.expose()));
            request = request.basic_auth(user, password);
        }
        let answer = request.send().await.map_err(unavailable)?;
        let status = answer.status();
        if status.is_success() {
            let found = answer.json::<SchemaById>().await.map_err(unavailable)?;
            return Ok(found.schema);
        }
        let refusal = answer.json::<RegistryRefusal>().await;
        match refusal {
            Ok(refusal)
                if status == StatusCode::NOT_FOUND && refusal.error_code == SCHEMA_NOT_FOUND =>
            {
                Err(RegistryError::UnknownId(id))
            }
            Ok(_) | Err(_) => Err(RegistryError::Unavailable(format!("it answered {status}"))),
        }
    }

    /// Reads a framed value, or rejects it: what every stage behind the validator does first, and a dry run too.
    ///
    /// `polled` is when the record was there at the latest. A record that does not fit its schema is rejected only by a schema that was read
    /// after that: a contract may have changed under the same id. With the batch's time a batch of broken records reads a schema once.
    ///
    /// # Errors
    /// [`RegistryError`]: the record is not at fault.
    pub async fn decode<'a>(
        &mut self,
        value: &'a [u8],
        polled: Instant,
    ) -> Result<Result<Framed<'a>, Rejection>, RegistryError> {
        let (schema_id, datum) = match framing::unframe(value) {
            Ok(framed) => framed,
            Err(rejection) => return Ok(Err(rejection)),
        };
        if schema_id < 1 {
            return Ok(Err(Rejection::new(
                RejectionCode::UnknownSchemaId,
                None,
                format!("{schema_id} is no schema id that a registry gives: they begin at 1"),
            )));
        }
        let framed = |event| Framed { schema_id, event };
        if let Ok(event) = self.known(schema_id, None).await?.decode(datum) {
            return Ok(Ok(framed(event)));
        }
        let known = self.known(schema_id, Some(polled)).await?;
        Ok(known
            .decode(datum)
            .map(framed)
            .map_err(|problem| Rejection::new(RejectionCode::BadDatum, None, problem.to_string())))
    }
}

/// An error and what caused it, in one line.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[expect(clippy::needless_pass_by_value, reason = "used as a map_err function")]
fn unavailable(error: SRCError) -> RegistryError {
    RegistryError::Unavailable(error.to_string())
}

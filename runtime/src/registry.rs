//! Schemas by id, from any Confluent-compatible registry. There is no other path to a schema.
//!
//! Schemas are registered through `schema_registry_converter`. The look-up by id is a request of our own: that crate reports every failure
//! as text, and whether the registry is down or does not know an id decides between waiting and a dead letter.

use crate::config::ConfigError;
use crate::consumer::StageError;
use crate::http_client;
use contracts::avro::datum::{Decoder, Event};
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
use std::time::Duration;

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
    /// The registry answered that it has no such schema id
    #[error("the schema registry has no schema {0}")]
    UnknownId(i32),
    /// The schema exists and is not one of ours
    #[error("schema {id} cannot be used: {problem}")]
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
            Self::UnknownId(_) => "unknown_schema_id",
            Self::Unusable { .. } => "unusable_schema",
        }
    }
}

/// Longest a call to the registry may take.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The registry's own code for an id it does not have, in the body of a 404. A proxy's 404 page has none.
const SCHEMA_NOT_FOUND: i64 = 40403;

/// A client of the registry. What it learned is kept: ids never change their meaning.
pub struct Registry {
    settings: SrSettings,
    client: reqwest::Client,
    args: RegistryArgs,
    decoders: HashMap<i32, Arc<Decoder>>,
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
    /// The Avro
    pub datum: &'a [u8],
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
    /// [`RegistryError`]; only `UnknownId` and `Unusable` are a record's fault.
    pub async fn decoder(&mut self, id: i32) -> Result<Arc<Decoder>, RegistryError> {
        if let Some(decoder) = self.decoders.get(&id) {
            return Ok(Arc::clone(decoder));
        }
        // No registry gives out a negative id.
        u32::try_from(id).map_err(|_| RegistryError::UnknownId(id))?;
        let schema = self.look_up(id).await?;
        let decoder = Decoder::new(&schema).map_err(|problem| RegistryError::Unusable {
            id,
            problem: problem.to_string(),
        })?;
        let decoder = Arc::new(decoder);
        self.decoders.insert(id, Arc::clone(&decoder));
        Ok(decoder)
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
    /// # Errors
    /// [`StageError`] while the registry does not answer: the record is not at fault then.
    pub async fn decode<'a>(
        &mut self,
        value: &'a [u8],
    ) -> Result<Result<Framed<'a>, Rejection>, StageError> {
        let (schema_id, datum) = match framing::unframe(value) {
            Ok(framed) => framed,
            Err(rejection) => return Ok(Err(rejection)),
        };
        let decoder = match self.decoder(schema_id).await {
            Ok(decoder) => decoder,
            Err(error @ RegistryError::Unavailable(_)) => {
                return Err(StageError::wait(error.code(), error));
            }
            Err(error @ (RegistryError::UnknownId(_) | RegistryError::Unusable { .. })) => {
                return Ok(Err(Rejection::new(
                    RejectionCode::UnknownSchemaId,
                    None,
                    error.to_string(),
                )));
            }
        };
        let bad = |problem: contracts::avro::datum::DatumError| {
            Rejection::new(RejectionCode::BadDatum, None, problem.to_string())
        };
        Ok(decoder
            .decode(datum)
            .map(|event| Framed {
                schema_id,
                datum,
                event,
            })
            .map_err(bad))
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

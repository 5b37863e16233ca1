//! The endpoints Confluent's clients call, and its error bodies. Source: Confluent Schema Registry API reference,
//! <https://docs.confluent.io/platform/current/schema-registry/develop/api.html>.

use crate::metrics;
use crate::subjects::{Subject, Version};
use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, MatchedPath, Path, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use contracts::event::AvroSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

const CONTENT_TYPE: &str = "application/vnd.schemaregistry.v1+json";
/// Longest body read: far above any contract's schema.
const BODY_LIMIT_BYTES: usize = 256 * 1024;

type Subjects = State<Arc<Vec<Subject>>>;
type Answer = Result<Confluent, Problem>;
type Body = Result<Bytes, BytesRejection>;

/// The registry's routes.
pub fn app(subjects: Vec<Subject>) -> Router {
    Router::new()
        .route("/", get(|| async { Confluent(json!({})) }))
        .route("/subjects", get(list))
        .route("/subjects/{subject}", post(look_up))
        .route("/subjects/{subject}/versions", get(versions).post(register))
        .route("/subjects/{subject}/versions/{version}", get(version))
        .route(
            "/subjects/{subject}/versions/{version}/schema",
            get(version_schema),
        )
        .route(
            "/subjects/{subject}/versions/{version}/referencedby",
            get(referenced_by),
        )
        .route("/contexts", get(|| async { Confluent(json!(["."])) }))
        .route("/schemas", get(all))
        .route(
            "/schemas/types",
            get(|| async { Confluent(json!(["AVRO"])) }),
        )
        .route("/schemas/ids/{id}", get(schema))
        .route("/schemas/ids/{id}/schema", get(bare_schema))
        .route("/schemas/ids/{id}/versions", get(schema_versions))
        .route("/schemas/ids/{id}/subjects", get(schema_subjects))
        .route(
            "/config",
            get(|| async { Confluent(json!({"compatibilityLevel": "BACKWARD"})) }),
        )
        .route("/config/{subject}", get(config))
        .route(
            "/mode",
            get(|| async { Confluent(json!({"mode": "READONLY"})) }),
        )
        .route("/mode/{subject}", get(mode))
        .route(
            "/compatibility/subjects/{subject}/versions/{version}",
            post(compatible),
        )
        .route(
            "/compatibility/subjects/{subject}/versions",
            post(compatible_with_all),
        )
        .fallback(|| async { Problem::NoEndpoint })
        .method_not_allowed_fallback(|| async { Problem::NoMethod })
        .layer(DefaultBodyLimit::max(BODY_LIMIT_BYTES))
        .layer(middleware::from_fn(count))
        .with_state(Arc::new(subjects))
}

async fn count(request: Request, next: Next) -> Response {
    let endpoint = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "none".to_owned(), |path| path.as_str().to_owned());
    let response = next.run(request).await;
    ::metrics::counter!(metrics::REQUESTS, "endpoint" => endpoint, "status" => response.status().as_u16().to_string())
        .increment(1);
    response
}

/// A JSON answer with Confluent's content type.
struct Confluent(Value);

impl IntoResponse for Confluent {
    fn into_response(self) -> Response {
        ([(header::CONTENT_TYPE, CONTENT_TYPE)], self.0.to_string()).into_response()
    }
}

/// Errors in Confluent's form.
#[derive(Debug)]
enum Problem {
    NoSubject(String),
    NoVersion(String),
    BadVersion(String),
    NoSchema(String),
    BadSchema(String),
    BadBody(StatusCode, String),
    Incompatible(String),
    ReadOnly(String),
    NoEndpoint,
    NoMethod,
}

/// What to do when this registry refuses a schema.
const CONTRACTS_ARE_DATA: &str = "contracts are data of a release: add or change a folder of contracts and release it, or use a registry that accepts writes";

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, code, message) = match self {
            Self::NoSubject(name) => (
                StatusCode::NOT_FOUND,
                40401,
                format!("subject '{name}' not found"),
            ),
            Self::NoVersion(version) => (
                StatusCode::NOT_FOUND,
                40402,
                format!("version {version} not found"),
            ),
            Self::NoSchema(what) => (
                StatusCode::NOT_FOUND,
                40403,
                format!("schema {what} not found"),
            ),
            Self::BadSchema(problem) => (
                StatusCode::UNPROCESSABLE_ENTITY,
                42201,
                format!("invalid schema: {problem}"),
            ),
            Self::BadVersion(version) => (
                StatusCode::UNPROCESSABLE_ENTITY,
                42202,
                format!(
                    "'{version}' is not a version: use a number from 1 to 2147483647, or latest"
                ),
            ),
            Self::ReadOnly(what) => (
                StatusCode::UNPROCESSABLE_ENTITY,
                42205,
                format!("{what}; {CONTRACTS_ARE_DATA}"),
            ),
            Self::Incompatible(why) => (
                StatusCode::CONFLICT,
                409,
                format!("{why}; {CONTRACTS_ARE_DATA}"),
            ),
            Self::BadBody(status, problem) => (status, status.as_u16().into(), problem),
            Self::NoEndpoint => (StatusCode::NOT_FOUND, 404, "HTTP 404 Not Found".to_owned()),
            Self::NoMethod => (
                StatusCode::METHOD_NOT_ALLOWED,
                405,
                format!("this registry is read-only; {CONTRACTS_ARE_DATA}"),
            ),
        };
        (
            status,
            Confluent(json!({"error_code": code, "message": message})),
        )
            .into_response()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Given {
    schema: Option<String>,
    schema_type: Option<String>,
    #[serde(default)]
    references: Option<Vec<Value>>,
}

/// The schema a client sent.
fn given(body: Body) -> Result<AvroSchema, Problem> {
    let body =
        body.map_err(|rejection| Problem::BadBody(rejection.status(), rejection.body_text()))?;
    let given: Given = serde_json::from_slice(&body).map_err(|error| {
        Problem::BadBody(
            StatusCode::BAD_REQUEST,
            format!("the body is not {{\"schema\": …}}: {error}"),
        )
    })?;
    if let Some(other) = given.schema_type.filter(|kind| kind != "AVRO") {
        return Err(Problem::BadSchema(format!(
            "schema type {other} is not supported; contracts are AVRO"
        )));
    }
    if given
        .references
        .is_some_and(|references| !references.is_empty())
    {
        return Err(Problem::BadSchema(
            "references are not supported: a contract's schema stands alone".to_owned(),
        ));
    }
    AvroSchema::new(&given.schema.unwrap_or_default()).map_err(Problem::BadSchema)
}

fn find<'a>(subjects: &'a [Subject], name: &str) -> Result<&'a Subject, Problem> {
    subjects
        .iter()
        .find(|subject| subject.name == name)
        .ok_or_else(|| Problem::NoSubject(name.to_owned()))
}

/// A version; `latest` and -1 are the newest.
fn find_version<'a>(
    subjects: &'a [Subject],
    name: &str,
    version: &str,
) -> Result<&'a Version, Problem> {
    let requested: Option<u32> = match version {
        "latest" | "-1" => None,
        number => match number.parse::<i32>() {
            Ok(number) if number > 0 => u32::try_from(number).ok(),
            Ok(_) | Err(_) => return Err(Problem::BadVersion(version.to_owned())),
        },
    };
    let versions = &find(subjects, name)?.versions;
    match requested {
        None => versions.last(),
        Some(number) => versions.iter().find(|version| version.number == number),
    }
    .ok_or_else(|| Problem::NoVersion(version.to_owned()))
}

fn find_id<'a>(subjects: &'a [Subject], id: &str) -> Result<(&'a Subject, &'a Version), Problem> {
    let versions = |subject: &'a Subject| {
        subject
            .versions
            .iter()
            .map(move |version| (subject, version))
    };
    let id: i32 = id.parse().map_err(|_| Problem::NoEndpoint)?;
    subjects
        .iter()
        .flat_map(versions)
        .find(|(_, version)| version.id == id)
        .ok_or_else(|| Problem::NoSchema(id.to_string()))
}

/// The version whose schema is this one, however it is written.
fn find_same<'a>(subject: &'a Subject, schema: &AvroSchema) -> Option<&'a Version> {
    subject
        .versions
        .iter()
        .find(|version| version.schema.is_same_as(schema))
}

fn description(subject: &str, version: &Version) -> Value {
    json!({"subject": subject, "version": version.number, "id": version.id, "schema": version.avsc, "schemaType": "AVRO"})
}

#[derive(Deserialize)]
struct ListQuery {
    #[serde(rename = "subjectPrefix", default)]
    prefix: String,
    #[serde(rename = "latestOnly", default, deserialize_with = "truth")]
    latest_only: bool,
}

async fn list(State(subjects): Subjects, Query(query): Query<ListQuery>) -> Confluent {
    Confluent(
        subjects
            .iter()
            .map(|subject| subject.name.as_str())
            .filter(|name| name.starts_with(&query.prefix))
            .collect(),
    )
}

async fn versions(State(subjects): Subjects, Path(name): Path<String>) -> Answer {
    find(&subjects, &name).map(|subject| {
        let numbers = subject.versions.iter().map(|version| version.number);
        Confluent(numbers.collect())
    })
}

async fn version(
    State(subjects): Subjects,
    Path((name, version)): Path<(String, String)>,
) -> Answer {
    find_version(&subjects, &name, &version).map(|version| Confluent(description(&name, version)))
}

async fn version_schema(
    State(subjects): Subjects,
    Path((name, version)): Path<(String, String)>,
) -> Result<Response, Problem> {
    find_version(&subjects, &name, &version).map(bare)
}

fn bare(version: &Version) -> Response {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], version.avsc.clone()).into_response()
}

/// Whether this schema is registered.
async fn look_up(State(subjects): Subjects, Path(name): Path<String>, body: Body) -> Answer {
    let subject = find(&subjects, &name)?;
    let schema = given(body)?;
    let version = find_same(subject, &schema)
        .ok_or_else(|| Problem::NoSchema(format!("of that text under '{name}'")))?;
    Ok(Confluent(description(&name, version)))
}

/// The pinned id of a schema this registry has; nothing is ever added.
async fn register(State(subjects): Subjects, Path(name): Path<String>, body: Body) -> Answer {
    let schema = given(body)?;
    let Ok(subject) = find(&subjects, &name) else {
        return Err(Problem::ReadOnly(format!(
            "subject '{name}' does not exist and cannot be added"
        )));
    };
    if let Some(version) = find_same(subject, &schema) {
        return Ok(Confluent(json!({"id": version.id})));
    }
    let latest = find_version(&subjects, &name, "latest")?;
    let number = latest.number;
    Err(match schema.can_read(&latest.schema) {
        Ok(()) => Problem::ReadOnly(format!(
            "the schema is compatible with version {number} of '{name}', but cannot be added"
        )),
        Err(why) => Problem::Incompatible(format!(
            "the schema is incompatible with version {number} of '{name}': {why}"
        )),
    })
}

async fn schema(State(subjects): Subjects, Path(id): Path<String>) -> Answer {
    find_id(&subjects, &id).map(|(_, version)| Confluent(json!({"schema": version.avsc})))
}

async fn bare_schema(
    State(subjects): Subjects,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    find_id(&subjects, &id).map(|(_, version)| bare(version))
}

async fn schema_versions(State(subjects): Subjects, Path(id): Path<String>) -> Answer {
    find_id(&subjects, &id).map(|(subject, version)| {
        Confluent(json!([{"subject": subject.name, "version": version.number}]))
    })
}

async fn schema_subjects(State(subjects): Subjects, Path(id): Path<String>) -> Answer {
    find_id(&subjects, &id).map(|(subject, _)| Confluent(json!([subject.name])))
}

async fn config(State(subjects): Subjects, Path(name): Path<String>) -> Answer {
    find(&subjects, &name).map(|_| Confluent(json!({"compatibilityLevel": "BACKWARD"})))
}

async fn mode(State(subjects): Subjects, Path(name): Path<String>) -> Answer {
    find(&subjects, &name).map(|_| Confluent(json!({"mode": "READONLY"})))
}

#[derive(Deserialize)]
struct CompatibleQuery {
    #[serde(default, deserialize_with = "truth")]
    verbose: bool,
}

/// true or false in any letters: Confluent's Python client writes `True`. Anything else is false, as Confluent's registry has it.
fn truth<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    String::deserialize(deserializer).map(|word| word.eq_ignore_ascii_case("true"))
}

/// Whether consumers with this schema can read what was written with that version.
async fn compatible(
    State(subjects): Subjects,
    Path((name, version)): Path<(String, String)>,
    Query(query): Query<CompatibleQuery>,
    body: Body,
) -> Answer {
    let version = find_version(&subjects, &name, &version)?;
    Ok(verdict(
        &given(body)?,
        std::slice::from_ref(version),
        &query,
    ))
}

/// The same of all versions.
async fn compatible_with_all(
    State(subjects): Subjects,
    Path(name): Path<String>,
    Query(query): Query<CompatibleQuery>,
    body: Body,
) -> Answer {
    let versions = &find(&subjects, &name)?.versions;
    Ok(verdict(&given(body)?, versions, &query))
}

fn verdict(schema: &AvroSchema, versions: &[Version], query: &CompatibleQuery) -> Confluent {
    let problems: Vec<String> = versions
        .iter()
        .filter_map(|version| {
            let why = schema.can_read(&version.schema).err()?;
            Some(format!("version {}: {why}", version.number))
        })
        .collect();
    let mut answer = json!({"is_compatible": problems.is_empty()});
    if query.verbose {
        answer["messages"] = problems.into();
    }
    Confluent(answer)
}

/// All schemas, in all versions.
async fn all(State(subjects): Subjects, Query(query): Query<ListQuery>) -> Confluent {
    let wanted = subjects
        .iter()
        .filter(|subject| subject.name.starts_with(&query.prefix));
    let described = wanted.flat_map(|subject| {
        let oldest = if query.latest_only {
            subject.versions.len() - 1
        } else {
            0
        };
        let versions = subject.versions[oldest..].iter();
        versions.map(|version| description(&subject.name, version))
    });
    Confluent(described.collect())
}

/// What refers to a version: nothing, since a contract's schema stands alone.
async fn referenced_by(
    State(subjects): Subjects,
    Path((name, version)): Path<(String, String)>,
) -> Answer {
    find_version(&subjects, &name, &version).map(|_| Confluent(json!([])))
}

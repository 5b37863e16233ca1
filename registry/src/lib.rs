//! A small Confluent-compatible schema registry over the contracts, read-mostly.
//!
//! Subjects are `<topic>-<record name>` (TopicRecordName) with one version each; ids are pinned beside the contracts, so that any number of
//! instances answer alike. Registering a schema that is here answers its id; another one is refused, since contracts are data of a
//! release. Any real registry works in its place. Source: Confluent Schema Registry API reference.

use apache_avro::Schema;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use contracts::contract::{Contracts, backward_compatible};
use runtime::config::ConfigError;
use runtime::health::Health;
use serde::Deserialize;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Settings of the registry role.
#[derive(Debug, Clone, clap::Args)]
pub struct Config {
    /// Address clients ask; also serves /health, /ready and /metrics
    #[arg(long, env = "EVENTFLOW_REGISTRY_LISTEN", default_value = "127.0.0.1:8081")]
    pub listen: SocketAddr,
    /// Directory of further event contracts, each with its pinned id in a file `schema-id`
    #[arg(long, env = "EVENTFLOW_CONTRACTS")]
    pub contracts: Option<PathBuf>,
    /// Topic the records are written to: the first part of every subject
    #[arg(long, env = "EVENTFLOW_TOPIC_VALIDATED", default_value = contracts::topics::VALIDATED)]
    pub topic_validated: String,
    /// Write logs as JSON
    #[arg(long, env = "EVENTFLOW_LOG_JSON", default_value_t = false)]
    pub log_json: bool,
    /// Check the configuration and exit
    #[arg(long, default_value_t = false)]
    pub check: bool,
}

impl Config {
    /// Refuses what cannot work.
    ///
    /// # Errors
    /// Names the setting.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.subjects().map(drop)
    }

    fn subjects(&self) -> Result<Vec<Subject>, ConfigError> {
        let contracts = runtime::config::load_contracts(self.contracts.as_deref())?;
        subjects(&contracts, &self.topic_validated)
    }
}

/// One subject, version 1.
#[derive(Debug, Clone)]
pub struct Subject {
    name: String,
    id: i32,
    avsc: String,
    canonical: String,
}

/// The subjects of these contracts on a topic.
///
/// # Errors
/// A contract without a pinned id.
pub fn subjects(contracts: &Contracts, topic: &str) -> Result<Vec<Subject>, ConfigError> {
    let mut subjects = Vec::new();
    for contract in contracts.iter() {
        let bad = |problem: &str| ConfigError::new("--contracts", format!("contract {}: {problem}", contract.event_type));
        let id = contract.schema_id.ok_or_else(|| bad("has no pinned id; put a number no other contract has in its file schema-id"))?;
        let name = format!("{topic}-{}", contract.record_name);
        let canonical = canonical(&contract.record_avsc).ok_or_else(|| bad("record.avsc is not Avro"))?;
        subjects.push(Subject { name, id, avsc: contract.record_avsc.clone(), canonical });
    }
    subjects.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(subjects)
}

/// What two texts of one schema have in common. Parsing Canonical Form strips logical types, which matter here, so the parsed schema is compared whole.
fn canonical(avsc: &str) -> Option<String> {
    let schema = Schema::parse_str(avsc).ok()?;
    serde_json::to_string(&schema).ok()
}

/// Runs the role until `shutdown`.
///
/// # Errors
/// Bad configuration, or the address is taken.
pub async fn run(config: Config, shutdown: CancellationToken) -> anyhow::Result<()> {
    let subjects = config.subjects()?;
    let listener = runtime::ops::bind("--listen", config.listen).await?;
    serve(listener, subjects, shutdown).await
}

/// The registry on a given listener.
///
/// # Errors
/// When the listener fails.
pub async fn serve(listener: TcpListener, subjects: Vec<Subject>, shutdown: CancellationToken) -> anyhow::Result<()> {
    tracing::info!(event = "listening", role = "registry", address = %listener.local_addr()?, subjects = subjects.len());
    let routes = app(subjects).merge(runtime::ops::routes(Health::new()));
    runtime::ops::serve(listener, routes, shutdown).await
}

type Subjects = State<Arc<Vec<Subject>>>;

/// The registry's routes.
pub fn app(subjects: Vec<Subject>) -> Router {
    Router::new()
        .route("/", get(|| async { ok(json!({})) }))
        .route("/subjects", get(list))
        .route("/subjects/{subject}", post(look_up))
        .route("/subjects/{subject}/versions", get(versions).post(register))
        .route("/subjects/{subject}/versions/{version}", get(version))
        .route("/subjects/{subject}/versions/{version}/schema", get(version_schema))
        .route("/schemas/types", get(|| async { ok(json!(["AVRO"])) }))
        .route("/schemas/ids/{id}", get(schema))
        .route("/schemas/ids/{id}/schema", get(bare_schema))
        .route("/schemas/ids/{id}/versions", get(schema_versions))
        .route("/schemas/ids/{id}/subjects", get(schema_subjects))
        .route("/config", get(|| async { ok(json!({"compatibilityLevel": "BACKWARD"})) }))
        .route("/config/{subject}", get(|| async { ok(json!({"compatibilityLevel": "BACKWARD"})) }))
        .route("/mode", get(|| async { ok(json!({"mode": "READONLY"})) }))
        .route("/compatibility/subjects/{subject}/versions/{version}", post(compatible))
        .fallback(|| async { Problem::NotHere })
        .with_state(Arc::new(subjects))
}

/// Errors in Confluent's form.
#[derive(Debug)]
enum Problem {
    NoSubject(String),
    NoVersion(String),
    BadVersion(String),
    NoSchema,
    BadSchema(String),
    ReadOnly,
    NotHere,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, code, message) = match self {
            Self::NoSubject(name) => (404, 40401, format!("Subject '{name}' not found.")),
            Self::NoVersion(version) => (404, 40402, format!("Version {version} not found.")),
            Self::NoSchema => (404, 40403, "Schema not found".to_owned()),
            Self::BadSchema(problem) => (422, 42201, format!("Invalid schema: {problem}")),
            Self::BadVersion(version) => (422, 42202, format!("The specified version '{version}' is not a valid version id; allowed are 1 and latest")),
            Self::ReadOnly => (422, 42205, "This registry serves the contracts of its release: add or change a contract folder and release it, or use a registry that takes writes".to_owned()),
            Self::NotHere => (404, 404, "HTTP 404 Not Found".to_owned()),
        };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, ok(json!({"error_code": code, "message": message}))).into_response()
    }
}

fn ok(body: Value) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/vnd.schemaregistry.v1+json")], body.to_string())
}

#[derive(Deserialize)]
struct Given {
    schema: String,
}

fn find<'a>(subjects: &'a [Subject], name: &str) -> Result<&'a Subject, Problem> {
    subjects.iter().find(|subject| subject.name == name).ok_or_else(|| Problem::NoSubject(name.to_owned()))
}

fn find_version<'a>(subjects: &'a [Subject], name: &str, version: &str) -> Result<&'a Subject, Problem> {
    let subject = find(subjects, name)?;
    match version {
        "1" | "latest" | "-1" => Ok(subject),
        other if other.parse::<u32>().is_ok_and(|number| number > 0) => Err(Problem::NoVersion(other.to_owned())),
        other => Err(Problem::BadVersion(other.to_owned())),
    }
}

fn by_id(subjects: &[Subject], id: &str) -> Result<Subject, Problem> {
    subjects.iter().find(|subject| subject.id.to_string() == id).cloned().ok_or(Problem::NoSchema)
}

fn described(subject: &Subject) -> Value {
    json!({"subject": subject.name, "version": 1, "id": subject.id, "schema": subject.avsc})
}

async fn list(State(subjects): Subjects) -> impl IntoResponse {
    ok(subjects.iter().map(|subject| subject.name.as_str()).collect())
}

async fn versions(State(subjects): Subjects, Path(name): Path<String>) -> Result<impl IntoResponse, Problem> {
    find(&subjects, &name).map(|_| ok(json!([1])))
}

async fn version(State(subjects): Subjects, Path((name, version)): Path<(String, String)>) -> Result<impl IntoResponse, Problem> {
    find_version(&subjects, &name, &version).map(|subject| ok(described(subject)))
}

async fn version_schema(State(subjects): Subjects, Path((name, version)): Path<(String, String)>) -> Result<String, Problem> {
    find_version(&subjects, &name, &version).map(|subject| subject.avsc.clone())
}

async fn look_up(State(subjects): Subjects, Path(name): Path<String>, Json(given): Json<Given>) -> Result<impl IntoResponse, Problem> {
    let subject = find(&subjects, &name)?;
    let canonical = canonical(&given.schema).ok_or_else(|| Problem::BadSchema("not Avro".to_owned()))?;
    if canonical == subject.canonical { Ok(ok(described(subject))) } else { Err(Problem::NoSchema) }
}

async fn register(State(subjects): Subjects, Path(name): Path<String>, Json(given): Json<Given>) -> Result<impl IntoResponse, Problem> {
    let canonical = canonical(&given.schema).ok_or_else(|| Problem::BadSchema("not Avro".to_owned()))?;
    match find(&subjects, &name) {
        Ok(subject) if subject.canonical == canonical => Ok(ok(json!({"id": subject.id}))),
        Ok(_) | Err(_) => Err(Problem::ReadOnly),
    }
}

async fn schema(State(subjects): Subjects, Path(id): Path<String>) -> Result<impl IntoResponse, Problem> {
    by_id(&subjects, &id).map(|subject| ok(json!({"schema": subject.avsc})))
}

async fn bare_schema(State(subjects): Subjects, Path(id): Path<String>) -> Result<String, Problem> {
    by_id(&subjects, &id).map(|subject| subject.avsc)
}

async fn schema_versions(State(subjects): Subjects, Path(id): Path<String>) -> Result<impl IntoResponse, Problem> {
    by_id(&subjects, &id).map(|subject| ok(json!([{"subject": subject.name, "version": 1}])))
}

async fn schema_subjects(State(subjects): Subjects, Path(id): Path<String>) -> Result<impl IntoResponse, Problem> {
    by_id(&subjects, &id).map(|subject| ok(json!([subject.name])))
}

async fn compatible(State(subjects): Subjects, Path((name, version)): Path<(String, String)>, Json(given): Json<Given>) -> Result<impl IntoResponse, Problem> {
    let subject = find_version(&subjects, &name, &version)?;
    if canonical(&given.schema).is_none() {
        return Err(Problem::BadSchema("not Avro".to_owned()));
    }
    Ok(match backward_compatible(&subject.avsc, &given.schema) {
        Ok(()) => ok(json!({"is_compatible": true})),
        Err(why) => ok(json!({"is_compatible": false, "messages": [why]})),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use axum::http::Request;
    use http_body_util::BodyExt;
    use runtime::registry::{Registry, RegistryArgs, RegistryError};
    use tower::ServiceExt;

    const SUBJECT: &str = "events.validated.v1-eventflow.payment.PaymentAuthorizedV1";

    fn all() -> Vec<Subject> {
        subjects(&Contracts::builtin(), contracts::topics::VALIDATED).unwrap()
    }

    async fn ask(method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let request = Request::builder().method(method).uri(path).header("content-type", "application/json").body(body).unwrap();
        let response = app(all()).oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    #[tokio::test]
    async fn every_endpoint_answers_as_confluent_does() {
        let avsc = Contracts::builtin().get("payment.authorized.v1").unwrap().record_avsc.clone();
        let same = Some(json!({"schema": avsc.replace('\n', " ")}));
        let other = Some(json!({"schema": "{\"type\":\"record\",\"name\":\"X\",\"fields\":[]}"}));
        let broken = Some(json!({"schema": "{"}));
        for (method, path, body, status, probe, expected) in [
            ("GET", "/subjects".to_owned(), None, 200, "/0", json!(SUBJECT)),
            ("GET", format!("/subjects/{SUBJECT}/versions"), None, 200, "", json!([1])),
            ("GET", format!("/subjects/{SUBJECT}/versions/latest"), None, 200, "/id", json!(1)),
            ("GET", format!("/subjects/{SUBJECT}/versions/2"), None, 404, "/error_code", json!(40402)),
            ("GET", format!("/subjects/{SUBJECT}/versions/zero"), None, 422, "/error_code", json!(42202)),
            ("GET", "/subjects/none/versions".to_owned(), None, 404, "/error_code", json!(40401)),
            ("GET", "/schemas/ids/1?deleted=true".to_owned(), None, 200, "/schema", json!(avsc)),
            ("GET", "/schemas/ids/99".to_owned(), None, 404, "/error_code", json!(40403)),
            ("GET", "/schemas/ids/1/versions".to_owned(), None, 200, "/0/subject", json!(SUBJECT)),
            ("POST", format!("/subjects/{SUBJECT}"), same.clone(), 200, "/id", json!(1)),
            ("POST", format!("/subjects/{SUBJECT}"), other.clone(), 404, "/error_code", json!(40403)),
            ("POST", format!("/subjects/{SUBJECT}/versions"), same.clone(), 200, "/id", json!(1)),
            ("POST", format!("/subjects/{SUBJECT}/versions"), other.clone(), 422, "/error_code", json!(42205)),
            ("POST", format!("/subjects/{SUBJECT}/versions"), broken, 422, "/error_code", json!(42201)),
            ("POST", format!("/compatibility/subjects/{SUBJECT}/versions/latest"), same, 200, "/is_compatible", json!(true)),
            ("POST", format!("/compatibility/subjects/{SUBJECT}/versions/latest"), other, 200, "/is_compatible", json!(false)),
            ("GET", "/nothing".to_owned(), None, 404, "/error_code", json!(404)),
        ] {
            let (answered, body) = ask(method, &path, body).await;
            assert_eq!(answered, status, "{method} {path} {body}");
            assert_eq!(body.pointer(probe), Some(&expected), "{method} {path} {body}");
        }
    }

    #[tokio::test]
    async fn the_real_client_registers_and_reads_schemas() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let server = tokio::spawn(serve(listener, all(), stop.clone()));
        let mut client = Registry::new(&RegistryArgs::at(url)).unwrap();
        for contract in Contracts::builtin().iter() {
            let id = client.register(contracts::topics::VALIDATED, &contract.record_name, &contract.record_avsc).await.unwrap();
            assert_eq!(Some(id), contract.schema_id);
            assert!(client.decoder(id).await.is_ok());
        }
        assert!(matches!(client.decoder(99).await, Err(RegistryError::UnknownId(99))));
        let refused = client.register("other", "a.B", r#"{"type":"record","name":"a.B","fields":[]}"#).await;
        assert!(matches!(refused, Err(RegistryError::Unavailable(_))), "{refused:?}");
        stop.cancel();
        server.await.unwrap().unwrap();
    }
}

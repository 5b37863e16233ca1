//! One client for both targets: the API of a running role, or the same routes in this process, on the database itself.

use super::connection::{Api, Target};
use super::error::{CommandError, Exit};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{Method, Request};
use contracts::Secret;
use http_body_util::BodyExt;
use recovery::http::{TokenRole, Tokens};
use recovery::{Context, PipelineArgs};
use runtime::config::ConfigError;
use runtime::text::encoded;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::Path;
use std::time::Duration;
use tower::ServiceExt;

/// A client of the recovery API.
#[derive(Debug)]
pub(crate) enum Client {
    Api {
        http: reqwest::Client,
        url: String,
        token: Option<Secret>,
    },
    Database {
        router: Router,
        token: Secret,
    },
}

/// A body, piece by piece.
#[derive(Debug)]
pub(crate) enum Answer {
    Api(reqwest::Response),
    Database(Body),
}

impl Client {
    /// Checks the target and prepares to use it; the API is not called yet, a database is.
    ///
    /// # Errors
    /// Wrong usage, or no database that can be used.
    pub(crate) async fn new(target: Target) -> Result<Self, CommandError> {
        match target {
            Target::Api(api) => Self::api(&api),
            Target::Database { pipeline, name } => {
                let name = name.or_else(|| std::env::var("USER").ok());
                Self::database(*pipeline, name.as_deref()).await
            }
        }
    }

    fn api(api: &Api) -> Result<Self, CommandError> {
        let bad =
            |setting: &str, problem: String| CommandError::usage(format!("{setting}: {problem}"));
        let bad_url = |problem: &str| bad(api.url_flag, problem.to_owned());
        let url = api.url.trim_end_matches('/').to_owned();
        let parsed = reqwest::Url::parse(&url)
            .map_err(|_| bad_url("not a URL; expected http://host:port or https://host"))?;
        if !matches!(parsed.scheme(), "http" | "https")
            || !parsed.username().is_empty()
            || parsed.password().is_some()
        {
            return Err(bad_url(
                "expected http://host:port or https://host, without user and password",
            ));
        }
        let token = match &api.token_file {
            Some(path) => Some(
                runtime::files::resolve_secret(&format!("file:{}", path.display()))
                    .map_err(|error| bad("--token-file", error))?,
            ),
            None => std::env::var("EVENTFLOW_RECOVERY_TOKEN")
                .ok()
                .filter(|token| !token.is_empty())
                .map(Secret::new),
        };
        let host = parsed
            .host_str()
            .unwrap_or_default()
            .trim_matches(['[', ']']);
        let is_local = host == "localhost"
            || host
                .parse()
                .is_ok_and(|address: std::net::IpAddr| address.is_loopback());
        if token.is_some() && parsed.scheme() == "http" && !is_local && !api.insecure_http {
            return Err(bad_url(
                "plain HTTP to another machine exposes the token: use https://, or add --insecure-http",
            ));
        }
        let mut http = runtime::http_client::builder()
            .connect_timeout(Duration::from_secs(5))
            .timeout(Duration::from_secs(620))
            // A redirect would take the token elsewhere.
            .redirect(reqwest::redirect::Policy::none());
        if let Some(path) = &api.ca_file {
            http = trusting(http, path)?;
        }
        let http = http.build().map_err(|error| {
            CommandError::failed(format!(
                "cannot create an HTTP client: {error}; check --ca-file"
            ))
        })?;
        Ok(Self::Api { http, url, token })
    }

    async fn database(pipeline: PipelineArgs, name: Option<&str>) -> Result<Self, CommandError> {
        let usage = |error: ConfigError| CommandError::usage(error.to_string());
        pipeline.check().map_err(usage)?;
        let reachable = pipeline.database.connection("recovery").attempt().await;
        reachable.map_err(CommandError::failed)?;
        let recovery = Context::new(pipeline, None).map_err(usage)?;
        let unreachable = |error: String| {
            CommandError::failed(format!(
                "{error}; check --database-url, and that PostgreSQL is running"
            ))
        };
        recovery::migrate_if_needed(&recovery)
            .await
            .map_err(|error| unreachable(error.to_string()))?;
        let name = recovery::database_person(&recovery, name)
            .await
            .map_err(|error| unreachable(error.to_string()))?;
        let token = Secret::new(uuid::Uuid::new_v4().to_string());
        let router = recovery::http::routes(
            recovery,
            &Tokens::one(&name, TokenRole::Operator, token.clone()),
        );
        Ok(Self::Database { router, token })
    }

    /// GET; the answer as text.
    pub(crate) async fn get(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<String, CommandError> {
        self.open(Method::GET, &with_query(path, query), None, None)
            .await?
            .text()
            .await
    }

    /// A request with a body; the answer as text.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        body: String,
    ) -> Result<String, CommandError> {
        self.open(method, path, None, Some(body))
            .await?
            .text()
            .await
    }

    pub(crate) async fn post(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<String, CommandError> {
        self.send(Method::POST, path, serde_json::to_string(body)?)
            .await
    }

    pub(crate) async fn open(
        &self,
        method: Method,
        path: &str,
        key: Option<&str>,
        body: Option<String>,
    ) -> Result<Answer, CommandError> {
        match self {
            Self::Api { http, url, token } => {
                let mut request = http.request(method, format!("{url}{path}"));
                if let Some(token) = token {
                    request = request.bearer_auth(String::from_utf8_lossy(token.expose()));
                }
                if let Some(key) = key {
                    request = request.header("idempotency-key", key);
                }
                let request = request
                    .header("content-type", "application/json")
                    .body(body.unwrap_or_default());
                let response = request
                    .send()
                    .await
                    .map_err(|error| unreachable(url, &error))?;
                let status = response.status();
                if status.is_success() {
                    return Ok(Answer::Api(response));
                }
                let problem = Answer::Api(response).text().await?;
                Err(CommandError::from_answer(
                    status.as_u16(),
                    problem.as_bytes(),
                ))
            }
            Self::Database { router, token } => {
                let bearer = format!("Bearer {}", String::from_utf8_lossy(token.expose()));
                let mut request = Request::builder()
                    .method(method)
                    .uri(path)
                    .header("authorization", bearer);
                if let Some(key) = key {
                    request = request.header("idempotency-key", key);
                }
                let request = request.body(Body::from(body.unwrap_or_default()));
                let request = request.map_err(|error| {
                    CommandError::usage(format!("not a valid request: {error}"))
                })?;
                let Ok(response) = router.clone().oneshot(request).await;
                let status = response.status();
                let answer = Answer::Database(response.into_body());
                if status.is_success() {
                    return Ok(answer);
                }
                Err(CommandError::from_answer(
                    status.as_u16(),
                    answer.text().await?.as_bytes(),
                ))
            }
        }
    }
}

impl Answer {
    /// The next piece; none at the end. An answer that is cut off is an error, not an end.
    pub(crate) async fn piece(&mut self) -> Result<Option<Bytes>, CommandError> {
        let broken = |error: &dyn std::fmt::Display| {
            CommandError::failed(format!("the answer was cut off: {error}; run it again"))
        };
        match self {
            Self::Api(response) => response.chunk().await.map_err(|error| broken(&error)),
            Self::Database(body) => match body.frame().await {
                None => Ok(None),
                Some(Ok(frame)) => Ok(Some(frame.into_data().unwrap_or_default())),
                Some(Err(error)) => Err(broken(&error)),
            },
        }
    }

    /// The whole answer.
    pub(crate) async fn text(mut self) -> Result<String, CommandError> {
        let mut all = Vec::new();
        while let Some(piece) = self.piece().await? {
            all.extend_from_slice(&piece);
            if all.len() > 256 << 20 {
                return Err(CommandError::failed(
                    "the answer is larger than 256 MiB: narrow the selection",
                ));
            }
        }
        String::from_utf8(all)
            .map_err(|_| CommandError::failed("the answer is not UTF-8; check --api-url"))
    }
}

/// Reads an answer.
pub(crate) fn read<T: DeserializeOwned>(text: &str) -> Result<T, CommandError> {
    Ok(serde_json::from_str(text)?)
}

/// Also trusts the authorities of `--ca-file`.
pub(crate) fn trusting(
    http: reqwest::ClientBuilder,
    path: &Path,
) -> Result<reqwest::ClientBuilder, CommandError> {
    let unusable =
        |problem: String| CommandError::usage(format!("--ca-file: {}: {problem}", path.display()));
    let pem = std::fs::read(path).map_err(|error| unusable(error.to_string()))?;
    let authorities =
        reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| unusable(error.to_string()))?;
    if authorities.is_empty() {
        return Err(unusable("has no certificate in PEM form".to_owned()));
    }
    Ok(http.tls_certs_merge(authorities))
}

/// Why a request got no answer: the innermost cause, without the URL.
pub(crate) fn reason(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut reason = "no answer".to_owned();
    let mut source = std::error::Error::source(error);
    while let Some(deeper) = source {
        reason = deeper.to_string();
        source = deeper.source();
    }
    reason
}

fn unreachable(url: &str, error: &reqwest::Error) -> CommandError {
    let reason = reason(error);
    let next =
        "start it (eventflow recovery), set --api-url, or work on the database with --database-url";
    CommandError::new(
        Exit::Failed,
        format!("cannot reach the recovery API at {url}: {reason}; {next}"),
    )
}

fn with_query(path: &str, query: &[(&str, String)]) -> String {
    let mut full = path.to_owned();
    for (index, (word, value)) in query.iter().enumerate() {
        let sign = if index == 0 { '?' } else { '&' };
        full.push_str(&format!("{sign}{word}={}", encoded(value)));
    }
    full
}

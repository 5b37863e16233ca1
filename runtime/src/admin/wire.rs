//! A connection to a broker for the administrative requests that the Kafka client's Rust binding does not have.

use crate::kafka::{KafkaArgs, Security};
use anyhow::{Context, bail, ensure};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, CreateAclsRequest, CreateAclsResponse,
    CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse,
    DeleteAclsRequest, DeleteAclsResponse, DescribeAclsRequest, DescribeAclsResponse,
    DescribeConfigsRequest, DescribeConfigsResponse, FetchRequest, FetchResponse,
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse, MetadataRequest,
    MetadataResponse, RequestHeader, ResponseHeader, SaslAuthenticateRequest,
    SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes, encode_request_header_into_buffer};
use rsasl::prelude::{Mechname, MessageSent, SASLClient, SASLConfig, State};

use rustls_platform_verifier::BuilderVerifierExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Longest a connection, and each answer, may take, where nobody says less.
pub const DEADLINE: Duration = Duration::from_secs(15);
/// Largest answer taken: some ten thousand ACLs.
const LARGEST: usize = 8 << 20;

/// A request, its number, and the answer to it. The library has such a trait only together with a broker's side of all requests.
pub trait Request: Encodable {
    /// Its number
    const KEY: ApiKey;
    /// The answer to it
    type Response: Decodable;
}

macro_rules! requests {
    ($($name:ident: $request:ty => $response:ty;)*) => {$(
        impl Request for $request {
            const KEY: ApiKey = ApiKey::$name;
            type Response = $response;
        }
    )*};
}

requests! {
    Fetch: FetchRequest => FetchResponse;
    ApiVersions: ApiVersionsRequest => ApiVersionsResponse;
    Metadata: MetadataRequest => MetadataResponse;
    SaslHandshake: SaslHandshakeRequest => SaslHandshakeResponse;
    CreateTopics: CreateTopicsRequest => CreateTopicsResponse;
    DescribeAcls: DescribeAclsRequest => DescribeAclsResponse;
    CreateAcls: CreateAclsRequest => CreateAclsResponse;
    DeleteAcls: DeleteAclsRequest => DeleteAclsResponse;
    DescribeConfigs: DescribeConfigsRequest => DescribeConfigsResponse;
    SaslAuthenticate: SaslAuthenticateRequest => SaslAuthenticateResponse;
    CreatePartitions: CreatePartitionsRequest => CreatePartitionsResponse;
    IncrementalAlterConfigs: IncrementalAlterConfigsRequest => IncrementalAlterConfigsResponse;
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// An authenticated connection. Requests are asked one after the other.
pub struct Connection {
    stream: Box<dyn Stream>,
    asked: i32,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl Connection {
    /// Connects to the first broker that answers within the deadline, and logs in.
    ///
    /// # Errors
    /// Why the last of the brokers cannot be asked.
    pub async fn open(kafka: &KafkaArgs, deadline: Duration) -> anyhow::Result<Self> {
        let mut problem = anyhow::anyhow!("--kafka-brokers names no broker");
        for broker in kafka
            .kafka_brokers
            .split(',')
            .map(str::trim)
            .filter(|broker| !broker.is_empty())
        {
            match tokio::time::timeout(deadline, Self::open_one(kafka, broker)).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(error)) => problem = error.context(format!("broker {broker}")),
                Err(_) => {
                    problem = anyhow::anyhow!(
                        "broker {broker} does not answer within {} s; check that Kafka is up, --kafka-brokers and --kafka-security",
                        deadline.as_secs()
                    );
                }
            }
        }
        Err(problem)
    }

    async fn open_one(kafka: &KafkaArgs, broker: &str) -> anyhow::Result<Self> {
        let tcp = TcpStream::connect(broker)
            .await
            .context("cannot connect; is Kafka up, and is --kafka-brokers right?")?;
        let (host, _) = broker
            .rsplit_once(':')
            .context("--kafka-brokers: not host:port")?;
        let stream: Box<dyn Stream> = match kafka.kafka_security {
            Security::Plaintext | Security::SaslPlaintext => Box::new(tcp),
            Security::Tls | Security::SaslTls | Security::AwsMskIam => {
                let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())?;
                let connector = TlsConnector::from(Arc::new(tls(kafka)?));
                Box::new(
                    connector
                        .connect(name, tcp)
                        .await
                        .context("TLS failed; check --kafka-ca and the broker's host name")?,
                )
            }
        };
        let mut connection = Self { stream, asked: 0 };
        if matches!(
            kafka.kafka_security,
            Security::SaslTls | Security::SaslPlaintext | Security::AwsMskIam
        ) {
            let advice = "the broker refuses the log-in; check --kafka-username and EVENTFLOW_KAFKA_PASSWORD, or the IAM role";
            connection.log_in(kafka).await.context(advice)?;
        }
        Ok(connection)
    }

    async fn log_in(&mut self, kafka: &KafkaArgs) -> anyhow::Result<()> {
        let mechanism = kafka.sasl_mechanism().to_owned();
        let handshake = SaslHandshakeRequest::default()
            .with_mechanism(StrBytes::from_string(mechanism.clone()));
        let answer = self.ask(&handshake, 1).await?;
        check(answer.error_code, None)
            .with_context(|| format!("the broker does not take the SASL mechanism {mechanism}"))?;
        if kafka.kafka_security == Security::AwsMskIam {
            // RFC 7628, section 3.1
            let token = tokio::task::spawn_blocking(crate::kafka::msk_iam_token)
                .await??
                .0;
            let message = format!("n,,\u{1}auth=Bearer {token}\u{1}\u{1}");
            let answer = self
                .ask(
                    &SaslAuthenticateRequest::default().with_auth_bytes(message.into()),
                    2,
                )
                .await?;
            return check(answer.error_code, answer.error_message.as_deref());
        }
        let password = kafka
            .kafka_password
            .as_ref()
            .map(|password| String::from_utf8_lossy(password.expose()).into_owned());
        let user = kafka.kafka_username.clone().unwrap_or_default();
        let config = SASLConfig::with_credentials(None, user, password.unwrap_or_default())?;
        let mut session =
            SASLClient::new(config).start_suggested(&[Mechname::parse(mechanism.as_bytes())?])?;
        let mut challenge: Option<Vec<u8>> = None;
        loop {
            let mut message = Vec::new();
            let state = session.step(challenge.as_deref(), &mut message)?;
            if let State::Running | State::Finished(MessageSent::Yes) = state {
                let answer = self
                    .ask(
                        &SaslAuthenticateRequest::default().with_auth_bytes(message.into()),
                        2,
                    )
                    .await?;
                check(answer.error_code, answer.error_message.as_deref())?;
                challenge = Some(answer.auth_bytes.to_vec());
            }
            if state.is_finished() {
                return Ok(());
            }
        }
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// No answer in time, or one that is none. The connection is of no more use then.
    pub async fn ask<R: Request>(
        &mut self,
        request: &R,
        version: i16,
    ) -> anyhow::Result<R::Response> {
        tokio::time::timeout(DEADLINE, self.exchange(request, version))
            .await
            .with_context(|| {
                format!("the broker does not answer within {} s", DEADLINE.as_secs())
            })?
    }

    async fn exchange<R: Request>(
        &mut self,
        request: &R,
        version: i16,
    ) -> anyhow::Result<R::Response> {
        self.asked += 1;
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY as i16)
            .with_request_api_version(version)
            .with_correlation_id(self.asked)
            .with_client_id(Some(StrBytes::from_static_str("eventflow-admin")));
        let mut body = bytes::BytesMut::new();
        encode_request_header_into_buffer(&mut body, &header)?;
        request.encode(&mut body, version)?;
        self.stream.write_u32(u32::try_from(body.len())?).await?;
        self.stream.write_all(&body).await?;
        self.stream.flush().await?;
        let length = self
            .stream
            .read_u32()
            .await
            .context("the broker closed the connection; check --kafka-security")?
            as usize;
        ensure!(
            length <= LARGEST,
            "an answer of {length} bytes: is this a Kafka broker, and is --kafka-security right?"
        );
        let mut answer = vec![0; length];
        self.stream.read_exact(&mut answer).await?;
        let mut answer = bytes::Bytes::from(answer);
        let header = ResponseHeader::decode(&mut answer, R::KEY.response_header_version(version))?;
        ensure!(
            header.correlation_id == self.asked,
            "the broker answers another request"
        );
        R::Response::decode(&mut answer, version)
    }
}

/// A broker's error code and message as an error.
///
/// # Errors
/// The error that the code names.
pub fn check(code: i16, message: Option<&str>) -> anyhow::Result<()> {
    match (ResponseError::try_from_code(code), message) {
        (None, _) => Ok(()),
        (Some(error), Some(message)) => bail!("{error}: {message}"),
        (Some(error), None) => bail!("{error}"),
    }
}

fn tls(kafka: &KafkaArgs) -> anyhow::Result<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?;
    let builder = match kafka.ca_pem().context("--kafka-ca")? {
        None => builder.with_platform_verifier()?,
        Some(pem) => {
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                roots.add(certificate.context("--kafka-ca")?)?;
            }
            builder.with_root_certificates(roots)
        }
    };
    let (Some(certificate), Some(key)) = (&kafka.kafka_certificate, &kafka.kafka_key) else {
        return Ok(builder.with_no_client_auth());
    };
    let chain = CertificateDer::pem_file_iter(certificate)?
        .collect::<Result<Vec<_>, _>>()
        .context("--kafka-certificate")?;
    Ok(builder.with_client_auth_cert(
        chain,
        PrivateKeyDer::from_pem_file(key).context("--kafka-key")?,
    )?)
}

//! How a client connects to Kafka: one set of settings for every role.

pub(crate) mod brokers;
mod login;

pub(crate) use login::token;
pub use login::{Login, msk_iam_token};

use crate::config_error::ConfigError;
use crate::health::Health;
use contracts::Secret;
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::borrow::Cow;

/// Connection and security settings.
#[derive(Debug, Clone, clap::Args)]
pub struct KafkaArgs {
    /// Kafka brokers, comma separated host:port
    #[arg(
        help_heading = "Kafka",
        long,
        env = "EVENTFLOW_KAFKA_BROKERS",
        default_value = "127.0.0.1:9092"
    )]
    pub kafka_brokers: String,
    /// Encryption and authentication of the connections to the brokers
    #[arg(help_heading = "Kafka", long, env = "EVENTFLOW_KAFKA_SECURITY", value_enum, default_value_t = Security::Plaintext)]
    pub kafka_security: Security,
    /// Certificate authority of the brokers: a PEM file, or the PEM text itself; without it, the system's
    #[arg(help_heading = "Kafka", long, env = "EVENTFLOW_KAFKA_CA")]
    pub kafka_ca: Option<String>,
    /// PEM file of this client's certificate (mTLS)
    #[arg(
        help_heading = "Kafka",
        long,
        env = "EVENTFLOW_KAFKA_CERTIFICATE",
        requires = "kafka_key"
    )]
    pub kafka_certificate: Option<String>,
    /// PEM file of this client's private key (mTLS)
    #[arg(help_heading = "Kafka", long, env = "EVENTFLOW_KAFKA_KEY")]
    pub kafka_key: Option<String>,
    /// SASL mechanism
    #[arg(
        help_heading = "Kafka",
        long,
        env = "EVENTFLOW_KAFKA_SASL_MECHANISM",
        default_value = "SCRAM-SHA-512"
    )]
    pub kafka_sasl_mechanism: String,
    /// SASL user name
    #[arg(help_heading = "Kafka", long, env = "EVENTFLOW_KAFKA_USERNAME")]
    pub kafka_username: Option<String>,
    /// SASL password
    #[arg(
        help_heading = "Kafka",
        long,
        env = "EVENTFLOW_KAFKA_PASSWORD",
        hide_env_values = true
    )]
    pub kafka_password: Option<Secret>,
    /// Any further librdkafka setting, as name=value; repeatable (in the variable, separated by semicolons)
    #[arg(
        help_heading = "Kafka",
        long = "kafka-config",
        env = "EVENTFLOW_KAFKA_CONFIG",
        value_delimiter = ';',
        hide_env_values = true
    )]
    pub kafka_config: Vec<String>,
}

/// Transport and authentication.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Security {
    /// No encryption, no authentication: loopback and trusted networks only
    Plaintext,
    /// TLS; with --kafka-certificate and --kafka-key, mTLS
    Tls,
    /// SASL over TLS
    SaslTls,
    /// SASL without encryption: test set-ups only
    SaslPlaintext,
    /// Amazon MSK with IAM: TLS, the AWS credentials of the process, and the region of AWS_REGION
    AwsMskIam,
}

impl KafkaArgs {
    /// Settings for a broker that needs no security.
    #[must_use]
    pub fn plaintext(brokers: impl Into<String>) -> Self {
        Self {
            kafka_brokers: brokers.into(),
            kafka_security: Security::Plaintext,
            kafka_ca: None,
            kafka_certificate: None,
            kafka_key: None,
            kafka_sasl_mechanism: "SCRAM-SHA-512".to_owned(),
            kafka_username: None,
            kafka_password: None,
            kafka_config: Vec::new(),
        }
    }

    /// Refuses what cannot work, before anything connects.
    ///
    /// # Errors
    /// Names the setting.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.kafka_brokers.trim().is_empty() {
            return Err(ConfigError::new(
                "--kafka-brokers",
                "give at least one host:port",
            ));
        }
        let sasl = matches!(
            self.kafka_security,
            Security::SaslTls | Security::SaslPlaintext
        );
        if sasl && self.kafka_username.is_none() {
            return Err(ConfigError::new(
                "--kafka-username",
                "SASL needs a user name; set EVENTFLOW_KAFKA_USERNAME",
            ));
        }
        if sasl && self.kafka_password.is_none() {
            return Err(ConfigError::new(
                "--kafka-password",
                "SASL needs a password; set EVENTFLOW_KAFKA_PASSWORD",
            ));
        }
        if self.kafka_security == Security::AwsMskIam && !cfg!(feature = "msk-iam") {
            return Err(ConfigError::new(
                "--kafka-security",
                "this program was built without aws-msk-iam; build it with --features msk-iam",
            ));
        }
        if self.kafka_security == Security::AwsMskIam && std::env::var("AWS_REGION").is_err() {
            return Err(ConfigError::new(
                "--kafka-security",
                "aws-msk-iam needs the cluster's region; set AWS_REGION",
            ));
        }
        let ca = self.kafka_ca.as_ref().filter(|ca| !is_pem(ca)).cloned();
        for (flag, path) in [
            ("--kafka-ca", &ca),
            ("--kafka-certificate", &self.kafka_certificate),
            ("--kafka-key", &self.kafka_key),
        ] {
            if let Some(path) = path
                && let Err(error) = std::fs::File::open(path)
            {
                return Err(ConfigError::new(
                    flag,
                    format!("cannot read {path}: {error}"),
                ));
            }
        }
        for pair in &self.kafka_config {
            // Not quoted: it may be what follows a semicolon in a password.
            if !pair.contains('=') {
                return Err(ConfigError::new(
                    "--kafka-config",
                    "write name=value; in the variable, several separated by semicolons",
                ));
            }
        }
        self.client_config("check")
            .create_native_config()
            .map(drop)
            .map_err(|error| match error {
                // The value may be a password whose property is misspelled.
                KafkaError::ClientConfig(_, problem, name, value) => {
                    let problem = if value.is_empty() {
                        problem
                    } else {
                        problem.replace(&value, "...")
                    };
                    ConfigError::new("--kafka-config", format!("{name}: {problem}"))
                }
                other => ConfigError::new("--kafka-config", other.to_string()),
            })
    }

    /// The certificate authority as PEM text; `None`: the machine's.
    ///
    /// # Errors
    /// Its file cannot be read.
    pub fn ca_pem(&self) -> std::io::Result<Option<String>> {
        match &self.kafka_ca {
            Some(ca) if !is_pem(ca) => std::fs::read_to_string(ca).map(Some),
            text => Ok(text.clone()),
        }
    }

    /// How the client logs in, where it does.
    #[must_use]
    pub fn sasl_mechanism(&self) -> &str {
        if self.kafka_security == Security::AwsMskIam {
            "OAUTHBEARER"
        } else {
            &self.kafka_sasl_mechanism
        }
    }

    pub(crate) fn client_config(&self, client_id: &str) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.kafka_brokers)
            .set("client.id", format!("eventflow-{client_id}"))
            .set("socket.keepalive.enable", "true")
            // A broker that hangs is abandoned after this, not after a minute.
            .set("socket.timeout.ms", "10000")
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "1000")
            // How often a client asks for the new leader of a partition: what waits for one waits this much longer.
            .set("retry.backoff.max.ms", "100")
            .set("topic.metadata.refresh.fast.interval.ms", "50")
            .set(
                "security.protocol",
                match self.kafka_security {
                    Security::Plaintext => "plaintext",
                    Security::Tls => "ssl",
                    Security::SaslTls | Security::AwsMskIam => "sasl_ssl",
                    Security::SaslPlaintext => "sasl_plaintext",
                },
            );
        if matches!(
            self.kafka_security,
            Security::SaslTls | Security::SaslPlaintext | Security::AwsMskIam
        ) {
            config.set("sasl.mechanism", self.sasl_mechanism());
        }
        if self.kafka_security == Security::AwsMskIam {
            // MSK takes 4 connections a second and broker from one client on its smallest instances.
            config
                .set("reconnect.backoff.ms", "1000")
                .set("reconnect.backoff.max.ms", "10000");
        }
        let files = [
            (
                if self.kafka_ca.as_deref().is_some_and(is_pem) {
                    "ssl.ca.pem"
                } else {
                    "ssl.ca.location"
                },
                &self.kafka_ca,
            ),
            ("ssl.certificate.location", &self.kafka_certificate),
            ("ssl.key.location", &self.kafka_key),
            ("sasl.username", &self.kafka_username),
        ];
        for (name, value) in files {
            if let Some(value) = value {
                config.set(name, value);
            }
        }
        if let Some(password) = &self.kafka_password {
            config.set("sasl.password", String::from_utf8_lossy(password.expose()));
        }
        for (name, value) in self
            .kafka_config
            .iter()
            .filter_map(|pair| pair.split_once('='))
        {
            config.set(name.trim(), value.trim());
        }
        config
    }
}

fn is_pem(text: &str) -> bool {
    text.trim_start().starts_with("-----BEGIN")
}

/// The health check every Kafka client of a role reports to.
pub(crate) const CHECK: &str = "kafka";

/// Turns what librdkafka reports in the background into the `kafka` check. Single lost connections are routine and
/// retried by the client; what a person must see is: no broker reachable, no broker authorizes us, or a fatal client.
pub(crate) fn note_client_error(health: &Health, error: &KafkaError, reason: &str) {
    let serious = matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::Authentication
                | RDKafkaErrorCode::SaslAuthenticationFailed
                | RDKafkaErrorCode::SSL
                | RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::GroupAuthorizationFailed
                | RDKafkaErrorCode::ClusterAuthorizationFailed
                | RDKafkaErrorCode::Fatal
                | RDKafkaErrorCode::CriticalSystemResource
                | RDKafkaErrorCode::Resolve
        )
    );
    let vague = matches!(
        error.rdkafka_error_code(),
        Some(RDKafkaErrorCode::AllBrokersDown | RDKafkaErrorCode::Resolve)
    );
    let reason = format!("{} ({}: {reason})", advice(error), code_of(error));
    if vague {
        // "All brokers down" follows every refused log-in and would hide it.
        health.fail_if_fine(CHECK, reason);
    } else if serious {
        health.set(CHECK, Err(reason));
    } else {
        tracing::debug!(event = "kafka_client_notice", error = %error, reason);
    }
}

/// What is wrong and what to do, for whoever was woken by it.
fn advice(error: &KafkaError) -> Cow<'static, str> {
    let advice = match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::AllBrokersDown) => {
            "no broker can be reached; retrying. Check that Kafka is up, --kafka-brokers and --kafka-security"
        }
        Some(RDKafkaErrorCode::Resolve) => {
            "a broker's host name cannot be resolved; retrying. Check --kafka-brokers"
        }
        Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed) => {
            "the broker refuses the log-in; check --kafka-username, EVENTFLOW_KAFKA_PASSWORD and --kafka-sasl-mechanism"
        }
        Some(RDKafkaErrorCode::SSL) => {
            "TLS failed; check --kafka-ca, --kafka-certificate, --kafka-key and the broker's host name"
        }
        Some(
            RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::GroupAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed,
        ) => return missing_acl("it needs").into(),
        Some(RDKafkaErrorCode::Fatal | RDKafkaErrorCode::CriticalSystemResource) => {
            "the Kafka client failed for good; restart the process, nothing is lost"
        }
        Some(_) | None => "the Kafka client reports an error",
    };
    advice.into()
}

/// What to do when Kafka does not authorize its user; `purpose` as in "to read topic t".
pub(crate) fn missing_acl(purpose: &str) -> String {
    format!("this Kafka user lacks an ACL {purpose}; add it (`eventflow admin topics apply`)")
}

/// The librdkafka error code in snake_case-ish form, for reasons and logs.
pub(crate) fn code_of(error: &KafkaError) -> String {
    error
        .rdkafka_error_code()
        .map_or_else(|| "kafka_error".to_owned(), |code| format!("{code:?}"))
}

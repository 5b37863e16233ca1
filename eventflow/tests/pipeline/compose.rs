//! `infra/docker-compose.yml` without Docker: the file is read as compose reads it; then its Kafka, with the very settings it gives the
//! image, and every service of ours, with its very command and environment, run as processes. Only names and ports are others.

use crate::oncall::until;
use crate::world::{DEADLINE, RealKafka, free_address, program};
use sandbox::harness::wait_for;
use sandbox::postgres::PrivatePostgres;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};

const FILE: &str = include_str!("../../../infra/docker-compose.yml");

/// `${NAME:-default}` is the default: nothing is set.
fn interpolate(text: &str) -> String {
    let mut parts = text.split("${");
    let mut whole = parts.next().unwrap().to_owned();
    for part in parts {
        let (variable, rest) = part.split_once('}').unwrap();
        whole += variable.split_once(":-").unwrap().1;
        whole += rest;
    }
    whole
}

fn services() -> Map<String, Value> {
    let file: Value = serde_saphyr::from_str(&interpolate(FILE)).unwrap();
    file["services"].as_object().unwrap().clone()
}

fn texts(value: &Value) -> Vec<String> {
    let text = |value: &Value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    };
    value.as_array().into_iter().flatten().map(text).collect()
}

fn environment(service: &Value) -> BTreeMap<String, String> {
    let text = |value: &Value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    };
    service["environment"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.clone(), text(value)))
        .collect()
}

#[test]
fn what_compose_starts_is_bounded_watched_and_reachable_from_this_machine_alone() {
    let services = services();
    for name in [
        "kafka",
        "postgres",
        "topics",
        "migrate",
        "registry",
        "producer",
        "validator",
        "analytics",
        "persistence",
    ] {
        assert!(services.contains_key(name), "{name}");
    }
    for (name, service) in &services {
        let image = service["image"].as_str().unwrap();
        let tag = image.rsplit_once(':').unwrap().1;
        assert!(
            tag == "local" || tag.split('.').count() >= 2,
            "{name}: {image} is not an exact version"
        );
        for port in texts(&service["ports"]) {
            assert!(
                port.starts_with("127.0.0.1:"),
                "{name}: {port} is open to others"
            );
        }
        assert!(
            service["deploy"]["resources"]["limits"]["memory"].is_string(),
            "{name} has no limit"
        );
        let once = ["topics", "migrate", "smoke"].contains(&name.as_str());
        let ours = image.starts_with("eventflow");
        // The image brings the health check of ours.
        assert!(
            once || ours || service["healthcheck"]["test"].is_array(),
            "{name} is not watched"
        );
        if ours {
            assert_eq!(service["read_only"], true, "{name}");
            assert_eq!(service["cap_drop"][0], "ALL", "{name}");
        }
        for (other, condition) in service["depends_on"].as_object().into_iter().flatten() {
            let known = ["service_healthy", "service_completed_successfully"];
            assert!(
                services.contains_key(other)
                    && known.contains(&condition["condition"].as_str().unwrap()),
                "{name}: {other}"
            );
        }
        let profiles = texts(&service["profiles"]);
        assert!(!profiles.is_empty(), "{name} has no profile");
        let infra = ["kafka", "postgres", "topics", "migrate", "registry"].contains(&name.as_str());
        assert_eq!(profiles.contains(&"infra".to_owned()), infra, "{name}");
    }
}

/// A misspelled variable would be ignored in silence.
#[test]
fn every_stage_of_the_pipeline_is_a_service() {
    let services = services();
    for stage in &contracts::pipeline::Pipeline::built_in().stages {
        assert!(services.contains_key(&stage.name), "{}", stage.name);
    }
}

#[test]
fn every_variable_is_one_that_the_program_reads() {
    for (name, service) in services()
        .iter()
        .filter(|(_, service)| service["image"].as_str().unwrap().starts_with("eventflow"))
    {
        let words = texts(&service["command"])
            .into_iter()
            .take_while(|word| !word.starts_with('-'));
        let help = Command::new(program())
            .args(words)
            .arg("--help")
            .output()
            .unwrap();
        let help = String::from_utf8(help.stdout).unwrap();
        for variable in environment(service).into_keys() {
            // PostgreSQL's own; the health check's; the token that EVENTFLOW_RECOVERY_API_TOKENS refers to.
            let elsewhere = [
                "PGPASSWORD",
                "EVENTFLOW_OPS_LISTEN",
                "EVENTFLOW_RECOVERY_TOKEN",
            ];
            let read = elsewhere.contains(&variable.as_str())
                || help.contains(&format!("[env: {variable}"));
            assert!(read, "{name}: {variable}");
        }
    }
}

/// Processes and their log; killed when dropped.
struct Running(Vec<(String, Child)>);

impl Drop for Running {
    fn drop(&mut self) {
        for (_, child) in &mut self.0 {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

/// The services' names and ports, and where they are here.
struct Places(Vec<(String, String)>);

impl Places {
    fn here(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (there, here)| {
            text.replace(there, here)
        })
    }

    fn command(&self, name: &str, service: &Value) -> Command {
        let mut command = Command::new(program());
        command.args(
            texts(&service["command"])
                .iter()
                .map(|argument| self.here(argument)),
        );
        // The image's own, unless the service has another.
        command
            .env_clear()
            .env("EVENTFLOW_OPS_LISTEN", self.here(&format!("{name}:9100")))
            .env("NO_COLOR", "1");
        command.envs(
            environment(service)
                .into_iter()
                .map(|(variable, value)| (variable, self.here(&value))),
        );
        command.stdin(Stdio::null());
        command
    }

    fn once(&self, name: &str, service: &Value) -> (bool, String) {
        let output = self.command(name, service).output().unwrap();
        let text = [output.stdout, output.stderr]
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .concat();
        (output.status.success(), text)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_services_of_the_compose_file_work_together_and_smoke_passes() {
    let services = services();
    let Some(kafka) = RealKafka::prepare("the_services_of_the_compose_file_work_together") else {
        return;
    };
    let [roles, outside, controller] = [(); 3].map(|()| free_address());
    let mut properties: BTreeMap<String, String> = environment(&services["kafka"])
        .into_iter()
        .filter_map(|(name, value)| {
            let name = name
                .strip_prefix("KAFKA_")
                .filter(|name| *name != "HEAP_OPTS")?
                .to_lowercase()
                .replace('_', ".");
            let value = value
                .replace("ROLES://:9092", &format!("ROLES://{roles}"))
                .replace("kafka:9092", &roles);
            let value = value
                .replace("OUTSIDE://:9094", &format!("OUTSIDE://{outside}"))
                .replace("127.0.0.1:9094", &outside);
            Some((name, value.replace("localhost:9093", &controller)))
        })
        .collect();
    properties.insert(
        "log.dirs".to_owned(),
        kafka.directory.path().join("data").display().to_string(),
    );
    kafka.start_with(&properties, &[&roles, &outside]);

    let postgres = PrivatePostgres::start(false).unwrap();
    let superuser = sqlx::PgPool::connect(&postgres.url()).await.unwrap();
    sqlx::query("CREATE DATABASE eventflow")
        .execute(&superuser)
        .await
        .unwrap();
    sqlx::query("ALTER ROLE eventflow PASSWORD 'eventflow-local'")
        .execute(&superuser)
        .await
        .unwrap();
    let url = postgres.url();
    let (place, _) = url.split_once('@').unwrap().1.split_once('/').unwrap();

    let mut places = Places(vec![
        ("kafka:9092".to_owned(), roles.clone()),
        ("postgres:5432".to_owned(), place.to_owned()),
    ]);
    let long: Vec<&str> = vec![
        "registry",
        "producer",
        "validator",
        "analytics",
        "persistence",
        "recovery",
        "simulator",
    ];
    for name in &long {
        // Where it serves its API, by the name others use and by the address it is given to listen on; and /health.
        for port in ["8000", "8080", "8081"] {
            let own = [
                &texts(&services[*name]["command"])[..],
                &environment(&services[*name])
                    .into_values()
                    .collect::<Vec<_>>(),
            ];
            if own
                .concat()
                .iter()
                .any(|text| text == &format!("0.0.0.0:{port}"))
            {
                let here = free_address();
                let ways = [
                    format!("{name}:{port}"),
                    format!("0.0.0.0:{port}"),
                    format!("127.0.0.1:{port}"),
                ];
                places.0.extend(ways.map(|there| (there, here.clone())));
            }
        }
        places.0.push((format!("{name}:9100"), free_address()));
    }
    for name in ["topics", "migrate"] {
        let (fine, output) = places.once(name, &services[name]);
        assert!(fine, "{name}: {output}");
    }
    let mut running = Running(Vec::new());
    let log = |name: &str| kafka.directory.path().join(format!("{name}.log"));
    for name in &long {
        let file = std::fs::File::create(log(name)).unwrap();
        let mut command = places.command(name, &services[*name]);
        let child = command
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        running.0.push(((*name).to_owned(), child));
    }
    for name in &long {
        // As HEALTHCHECK does, but that readiness is asked for too.
        let mut check = places.command(name, &services[*name]);
        let where_asked = check
            .get_envs()
            .find(|(variable, _)| *variable == "EVENTFLOW_OPS_LISTEN")
            .unwrap()
            .1
            .unwrap()
            .to_owned();
        check = Command::new(program());
        check
            .args(["healthcheck", "--ready"])
            .env("EVENTFLOW_OPS_LISTEN", where_asked);
        wait_for(DEADLINE, async || {
            let output = check.output().unwrap();
            if output.status.success() {
                Ok(())
            } else {
                let text = std::fs::read_to_string(log(name)).unwrap();
                let error = String::from_utf8_lossy(&output.stderr);
                Err(format!("{name}: {error}\n{text}"))
            }
        })
        .await;
    }
    let (fine, output) = places.once("smoke", &services["smoke"]);
    assert!(fine, "{output}");
    // The simulator's stream arrives, too.
    let url = format!("postgres://eventflow:eventflow-local@{place}/eventflow?sslmode=disable");
    let pool = sqlx::PgPool::connect(&url).await.unwrap();
    until("the stream is stored", async || {
        let streamed =
            "SELECT count(*) FROM persistence.events WHERE payload::text LIKE '%pay_stream%'";
        sqlx::query_scalar::<_, i64>(streamed)
            .fetch_one(&pool)
            .await
            .unwrap()
            > 3
    })
    .await;
}

//! Topics and rights from the data file, on a real Apache Kafka with an authorizer: applied, compared, refused; and enough for every role
//! to do its work, with a user of its own that may do no more.

use crate::oncall::{OnCall, until};
use crate::post::{authorized, post_all};
use crate::secure::until_reason;
use crate::world::{DEADLINE, RealKafka, World, program};
use contracts::kafka::topics;
use sandbox::harness::wait_for;
use serde_json::{Value, json};
use std::process::Command;

/// `eventflow admin topics`: its exit code and what it prints.
fn admin(kafka: &[String], arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(program());
    let output = command
        .args(["admin", "topics"])
        .args(arguments)
        .args(kafka)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr]
        .map(|bytes| String::from_utf8(bytes).unwrap())
        .concat();
    assert!(!text.contains("-secret"), "no password is printed: {text}");
    (output.status.code(), text)
}

fn scram(kafka: &RealKafka, user: &str) -> Vec<String> {
    vec![
        format!("--kafka-brokers={}", kafka.get("SASL_BOOTSTRAP")),
        "--kafka-security=sasl-tls".to_owned(),
        format!("--kafka-ca={}", kafka.get("CA")),
        format!("--kafka-username={user}"),
        format!("--kafka-password={user}-secret"),
    ]
}

const PASSWORDS: [(&str, &str); 2] = [
    ("persistence", "first-secret"),
    ("recovery", "other-secret"),
];

/// The URL by which a role logs in as itself; nothing for those that use no database.
fn login(role: &str, superuser: &str) -> String {
    let (_, place) = superuser.split_once('@').unwrap();
    let password = PASSWORDS
        .iter()
        .find(|(name, _)| *name == role)
        .map(|(_, password)| password);
    password
        .map(|password| format!("postgres://eventflow_{role}:{password}@{place}"))
        .unwrap_or_default()
}

/// As on a managed database, whose administrator is no superuser: given by PGUSER and PGPASSWORD. Twice, and with another password before.
async fn logins(world: &World, kafka: &[String]) {
    let superuser = sqlx::PgPool::connect(&world.postgres.url()).await.unwrap();
    sqlx::query("CREATE ROLE master LOGIN CREATEROLE PASSWORD 'master-secret'")
        .execute(&superuser)
        .await
        .unwrap();
    sqlx::query("GRANT CREATE, TEMPORARY ON DATABASE postgres TO master WITH GRANT OPTION")
        .execute(&superuser)
        .await
        .unwrap();
    let url = world.postgres.url();
    let (_, place) = url.split_once('@').unwrap();
    // First without logins, as before there were any: what is there changes hands. Then with another password, then with the one.
    for persistence in [None, Some("an-older-secret"), Some(PASSWORDS[0].1)] {
        let mut command = Command::new(program());
        command
            .args(["admin", "migrate"])
            .args(kafka)
            .env("EVENTFLOW_DATABASE_URL", format!("postgres://{place}"));
        command.envs([("PGUSER", "master"), ("PGPASSWORD", "master-secret")]);
        if let Some(persistence) = persistence {
            command.env("EVENTFLOW_PERSISTENCE_DATABASE_PASSWORD", persistence);
            command.env("EVENTFLOW_RECOVERY_DATABASE_PASSWORD", PASSWORDS[1].1);
        }
        let output = command.output().unwrap();
        let text = [output.stdout, output.stderr]
            .map(|bytes| String::from_utf8(bytes).unwrap())
            .concat();
        assert!(
            output.status.success() && text.contains("recovery\tup to date"),
            "{text}"
        );
        assert_eq!(
            text.contains("owned by eventflow_recovery"),
            persistence.is_some(),
            "{text}"
        );
        assert!(!text.contains("-secret"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_role_does_its_work_with_its_own_rights_and_has_no_more() {
    let Some(kafka) = RealKafka::start("every_role_does_its_work_with_its_own_rights", true) else {
        return;
    };
    let admin_flags = scram(&kafka, "admin");
    let (code, text) = admin(&admin_flags, &["apply"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("created ACL: User:producer may Write Topic events.raw.v1"),
        "{text}"
    );

    let mut world = World::on(kafka.plain(), Vec::new());
    logins(&world, &admin_flags).await;
    world.database = Some(login);
    // The validator's: it needs more rights than without, and everything behind it has to read past the ends of transactions.
    world.environment = vec![("EVENTFLOW_DELIVERY", "exactly-once".to_owned())];
    let _registry = world.role("registry", &[]);
    let roles = [
        "producer",
        "validator",
        "analytics",
        "persistence",
        "recovery",
    ];
    let running = roles.map(|role| world.role_with(role, &[], &scram(&kafka, role)));
    for role in &running {
        role.until_ready().await;
    }
    let broken = authorized("broken").replace("\"EUR\"", "\"eur\"");
    post_all(&world.edge, &[authorized("one"), authorized("one"), broken]).await;
    let fates = [
        ("stored", 1),
        ("duplicate", 1),
        ("dead_lettered unknown_currency", 1),
    ];
    assert_eq!(
        world.account().await.0,
        fates.map(|(fate, count)| (fate.to_owned(), count)).into()
    );
    // The whole way back, too: index, edit, replay through the retry topic, audit.
    let oncall = OnCall::of(&world).await;
    until("indexed", async || {
        oncall
            .number("SELECT count(*) FROM recovery.dead_letters")
            .await
            == 1
    })
    .await;
    let patch = json!([{"op": "replace", "path": "/payload/currency", "value": "EUR"}]).to_string();
    oncall
        .json(&["dlq", "edit", "1", "--patch", &patch, "--reason", "a test"])
        .await;
    let job = oncall
        .json(&["replay", "plan", "--id", "1", "--reason", "a test"])
        .await;
    let job = job["id"].as_str().unwrap().to_owned();
    oncall.json(&["replay", "apply", &job, "--yes"]).await;
    until("stored", async || {
        oncall
            .number("SELECT count(*) FROM persistence.events")
            .await
            == 2
    })
    .await;
    wait_for(DEADLINE, async || {
        let audit = oncall.types("anna", &["audit", "--now"]).await;
        match audit.code {
            Some(0) => Ok(()),
            _ => Err(format!("{}\n{}", audit.out, audit.err)),
        }
    })
    .await;

    // Where recovery's API is on its own loopback, on-call works on the database, as recovery's login.
    let url = login("recovery", &world.postgres.url());
    for words in [
        &["audit", "--database"][..],
        &["dlq", "groups", "--database"],
        &["trace", "one", "--database"],
    ] {
        let mut command = Command::new(program());
        let output = command
            .args(words)
            .env("EVENTFLOW_DATABASE_URL", &url)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{words:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    for (role, refused) in [
        ("persistence", "SELECT count(*) FROM recovery.dead_letters"),
        ("persistence", "CREATE SCHEMA mine"),
        ("recovery", "DELETE FROM persistence.events"),
        ("recovery", "SELECT count(*) FROM persistence.events"),
    ] {
        let pool = sqlx::PgPool::connect(&login(role, &world.postgres.url()))
            .await
            .unwrap();
        let error = sqlx::query(refused)
            .execute(&pool)
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("permission denied"),
            "{role}: {refused}: {error}"
        );
    }
    drop(running);
    // What the file does not allow nobody may do: the edge cannot publish validated records, persistence cannot read raw ones.
    for (role, flag) in [
        ("producer", "--topic-raw=events.validated.v1"),
        ("persistence", "--topic-validated=events.raw.v1"),
    ] {
        let refused = world.role_with(role, &[flag], &scram(&kafka, role));
        until_reason(&refused, "AuthorizationFailed").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_brought_to_the_file_and_nothing_is_lost_by_it() {
    let Some(kafka) = RealKafka::start("a_cluster_is_brought_to_the_file", true) else {
        return;
    };
    let flags = scram(&kafka, "admin");
    let (code, text) = admin(&flags, &["check"]);
    assert!(
        code == Some(1) && text.contains("events.raw.v1\tmissing; should be: 6 partitions"),
        "{text}"
    );
    assert!(
        text.contains("missing ACL: User:validator may Read Group eventflow-validator"),
        "{text}"
    );
    for _ in 0..2 {
        let (code, text) = admin(&flags, &["apply"]);
        assert_eq!(code, Some(0), "{text}");
    }
    let (code, text) = admin(&flags, &["apply"]);
    let settled = text
        .lines()
        .filter(|line| line.ends_with("\tin sync"))
        .count();
    assert_eq!(
        (code, settled),
        (Some(0), 7),
        "a second time changes nothing: {text}"
    );
    assert_eq!(admin(&flags, &["check"]).0, Some(0));

    // Another file: another world. What it would lose is refused as a whole, before anything is done.
    let mut file: Value =
        serde_json::from_str(include_str!("../../../infra/kafka/pipeline.json")).unwrap();
    file["topics"][topics::RAW]["config"]["retention.ms"] = "3600000".into();
    file["topics"][topics::DLQ]["partitions"] = 5.into();
    file["topics"][topics::VALIDATED]["config"]["max.message.bytes"] = "2000000".into();
    file["topics"]["events.audit.v1"] = json!({"partitions": 1});
    file["stages"][0]["writes"] = json!([topics::VALIDATED, "events.audit.v1"]);
    // One that may do nothing at all any more.
    file["stages"].as_array_mut().unwrap().remove(1);
    file["retired"] = json!(["analytics"]);
    let path = kafka.directory.path().join("pipeline.json");
    std::fs::write(&path, file.to_string()).unwrap();
    let other = ["--pipeline", path.to_str().unwrap()];
    let (code, text) = admin(&flags, &["apply", other[0], other[1]]);
    assert!(
        code == Some(1)
            && text.contains("nothing was changed: events.raw.v1 has retention.ms=1209600000"),
        "{text}"
    );
    assert_eq!(admin(&flags, &["check"]).0, Some(0), "nothing was changed");
    // And a right of everybody's, which nobody asked for.
    let everybody = [
        "--add",
        "--allow-principal",
        "User:*",
        "--operation",
        "Read",
        "--topic",
        topics::RAW,
    ];
    kafka.tool("org.apache.kafka.tools.AclCommand", &everybody);
    let (code, text) = admin(&flags, &["apply", other[0], other[1], "--allow-data-loss"]);
    assert_eq!(code, Some(0), "{text}");
    for done in [
        "events.raw.v1\tretention.ms=1209600000 -> 3600000",
        "events.dlq.v1\t3 partitions -> 5",
        "events.validated.v1\tmax.message.bytes=1048588 -> 2000000",
        "created ACL: User:validator may Write Topic events.audit.v1",
        "deleted ACL: User:analytics may Read Group eventflow-analytics",
        "deleted ACL: User:analytics may Read Topic events.validated.v1",
        "deleted ACL: User:* may Read Topic events.raw.v1",
    ] {
        assert!(text.contains(done), "{done}: {text}");
    }
    assert_eq!(admin(&flags, &["check", other[0], other[1]]).0, Some(0));

    // Drift is named, each difference by itself; what cannot be done is refused, the rest of the way back is not.
    let (code, text) = admin(&flags, &["check"]);
    assert!(
        code == Some(1)
            && text.contains(
                "5 differences; first fix those that `eventflow admin topics apply` cannot, as said above (1)"
            ),
        "{text}"
    );
    for drift in [
        "events.raw.v1\thas retention.ms=3600000; should be: retention.ms=1209600000",
        "events.dlq.v1\thas 5 partitions, and Kafka cannot remove partitions",
        "unexpected ACL: User:validator may Write Topic events.audit.v1",
        "missing ACL: User:analytics may Read Group eventflow-analytics",
    ] {
        assert!(text.contains(drift), "{drift}: {text}");
    }
    assert_eq!(admin(&flags, &["apply"]).0, Some(1), "fewer partitions");
    // One broker has one copy of everything: a wish for three is reported.
    let (code, text) = admin(&flags, &["check", other[0], other[1], "--replication", "3"]);
    assert!(
        code == Some(1) && text.contains("events.raw.v1\thas replication factor 1"),
        "{text}"
    );
    assert!(
        text.contains("events.raw.v1\thas min.insync.replicas=1; should be: min.insync.replicas=2"),
        "{text}"
    );
    file["topics"][topics::RAW]["config"]["retention.ms"] = "1209600000".into();
    let built_in: Value =
        serde_json::from_str(include_str!("../../../infra/kafka/pipeline.json")).unwrap();
    file["stages"] = built_in["stages"].clone();
    std::fs::write(&path, file.to_string()).unwrap();
    let (code, text) = admin(&flags, &["apply", other[0], other[1]]);
    assert!(
        code == Some(0)
            && text.contains("deleted ACL: User:validator may Write Topic events.audit.v1"),
        "{text}"
    );

    // By certificate the principals have other names. A user without the right, and one with a wrong password, get an error that says so.
    let file = |ending: &str| {
        kafka
            .directory
            .path()
            .join(format!("admin.{ending}"))
            .display()
            .to_string()
    };
    let certificate = vec![
        format!("--kafka-brokers={}", kafka.get("MTLS_BOOTSTRAP")),
        "--kafka-security=tls".to_owned(),
        format!(
            "--kafka-ca={}",
            std::fs::read_to_string(kafka.get("CA")).unwrap()
        ),
        format!("--kafka-certificate={}", file("crt")),
        format!("--kafka-key={}", file("key")),
    ];
    let (code, text) = admin(
        &certificate,
        &["check", other[0], other[1], "--principal=User:CN={}"],
    );
    assert!(
        code == Some(1)
            && text.contains("missing ACL: User:CN=producer may Write Topic events.raw.v1"),
        "{text}"
    );
    let (code, text) = admin(&scram(&kafka, "nobody"), &["check"]);
    assert!(
        code == Some(1) && text.to_lowercase().contains("authoriz"),
        "{text}"
    );
    let wrong: Vec<String> = flags
        .iter()
        .map(|flag| flag.replace("=admin-secret", "=wrong-secret"))
        .collect();
    let (code, text) = admin(&wrong, &["check"]);
    assert!(
        code == Some(1) && text.contains("refuses the log-in"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_where_everybody_may_do_everything_says_so() {
    let Some(kafka) = RealKafka::start("a_cluster_where_everybody_may_do_everything", false) else {
        return;
    };
    let flags = [format!("--kafka-brokers={}", kafka.get("BOOTSTRAP"))];
    for (work, done) in [
        ("apply", "events.raw.v1\tcreated, 6 partitions"),
        ("check", "events.raw.v1\tin sync"),
    ] {
        let (code, text) = admin(&flags, &[work]);
        assert_eq!(code, Some(0), "{text}");
        assert!(
            text.contains(done) && text.contains("acls\tthis cluster has no authorizer"),
            "{text}"
        );
    }
    let nobody = admin(&["--kafka-brokers=127.0.0.1:1".to_owned()], &["check"]);
    assert!(
        nobody.0 == Some(1) && nobody.1.contains("is Kafka up"),
        "{}",
        nobody.1
    );
}

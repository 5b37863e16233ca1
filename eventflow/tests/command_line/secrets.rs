//! No refusal and no failing start shows a secret.

use crate::check::bad_values;
use crate::{ROLES, SECRETS, assert_clean, eventflow};
use std::net::TcpListener;

#[test]
fn no_refused_configuration_and_no_failing_start_shows_a_secret() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for role in ROLES {
        for (flags, _) in bad_values(role) {
            let (code, output) = eventflow(&[&[role, "--check"], flags].concat(), &SECRETS);
            // With a password in the environment SASL is complete, and that is all that may change.
            assert!(
                code == Some(2) || flags.contains(&"--kafka-username"),
                "{role} {flags:?}: {output}"
            );
            assert_clean(&format!("{role} {flags:?}"), &output);
        }
        let listen = if ["simulator", "registry"].contains(&role) {
            "--listen"
        } else {
            "--ops-listen"
        };
        let (code, output) = eventflow(
            &[role, listen, &address],
            &[&SECRETS[..], &[("EVENTFLOW_LOG", "trace")]].concat(),
        );
        assert_eq!(code, Some(2), "{role}: {output}");
        assert!(output.contains(listen), "{output}");
        assert_clean(&format!("{role} on a taken port"), &output);
    }
}

#[test]
fn a_secret_in_a_setting_that_is_itself_wrong_is_not_quoted_back() {
    for (role, variable, value) in [
        // A typing error in the name: the client names the property, and must not show what it was set to.
        (
            "producer",
            "EVENTFLOW_KAFKA_CONFIG",
            "ssl.key.pasword=LEAKED",
        ),
        (
            "validator",
            "EVENTFLOW_KAFKA_CONFIG",
            "ssl.key.pasword=LEAKED",
        ),
        // A semicolon separates settings: the second half of such a password looks like one.
        (
            "analytics",
            "EVENTFLOW_KAFKA_CONFIG",
            "ssl.key.password=first;LEAKED",
        ),
        ("persistence", "EVENTFLOW_KAFKA_CONFIG", "LEAKED"),
        (
            "persistence",
            "EVENTFLOW_DATABASE_URL",
            "postgres://user:LEAKED@127.0.0.1:99999/database",
        ),
        (
            "persistence",
            "EVENTFLOW_DATABASE_URL",
            "mysql://user:LEAKED@127.0.0.1/database",
        ),
        (
            "persistence",
            "EVENTFLOW_DATABASE_URL",
            "user:LEAKED@127.0.0.1/database",
        ),
        (
            "recovery",
            "EVENTFLOW_DATABASE_URL",
            "mysql://user:LEAKED@127.0.0.1/database",
        ),
        // The token itself where its reference belongs.
        (
            "recovery",
            "EVENTFLOW_RECOVERY_API_TOKENS",
            "alice:operator=LEAKED",
        ),
        (
            "validator",
            "EVENTFLOW_REGISTRY_URL",
            "user:LEAKED@127.0.0.1:8081",
        ),
        (
            "validator",
            "EVENTFLOW_REGISTRY_URL",
            "http://user:LEAKED@:8081",
        ),
        (
            "simulator",
            "EVENTFLOW_WEBHOOK_URL",
            "ftp://user:LEAKED@127.0.0.1/hook",
        ),
        (
            "simulator",
            "EVENTFLOW_WEBHOOK_URL",
            "user:LEAKED@127.0.0.1/hook",
        ),
    ] {
        let environment = [
            ("EVENTFLOW_WEBHOOK_SIGNING_SECRET", "a-secret"),
            (variable, value),
        ];
        for start in [&[role, "--check"][..], &[role]] {
            let (code, output) = eventflow(start, &environment);
            assert_eq!(code, Some(2), "{role} {variable}={value}: {output}");
            assert_clean(&format!("{role} {variable}={value}"), &output);
        }
    }
    let environment = [("EVENTFLOW_KAFKA_CONFIG", "ssl.key.pasword=LEAKED")];
    for work in ["topics", "migrate"] {
        let (code, output) = eventflow(&["admin", work], &environment);
        assert_eq!(code, Some(2), "admin {work}: {output}");
        assert_clean(&format!("admin {work}"), &output);
    }
}

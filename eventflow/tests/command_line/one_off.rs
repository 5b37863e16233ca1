//! One-off commands: a migration, a health check.

use crate::eventflow;

#[test]
fn a_migration_that_cannot_be_made_is_not_taken_for_one() {
    let away = [
        "admin",
        "migrate",
        "--kafka-brokers",
        "127.0.0.1:1",
        "--database-url",
        "postgres://me@127.0.0.1:1/db",
        "--seconds",
        "5",
    ];
    let (code, output) = eventflow(&away, &[]);
    assert!(
        code == Some(1)
            && output.contains("persistence is not migrated within 5 s: ")
            && output.contains("127.0.0.1:1, database db")
            && output.contains("refused"),
        "{output}"
    );
}

#[test]
fn a_healthcheck_asks_the_role_of_this_machine() {
    let closed = sandbox::harness::free_address();
    let (code, output) = eventflow(&["healthcheck", "--ops-listen", &closed], &[]);
    assert!(
        code == Some(1) && output.contains("nothing answers at 127.0.0.1"),
        "{output}"
    );
    // Whatever a role answers: 200 is alive, anything else is not, and why.
    for (status, healthy) in [("200 OK", true), ("503 Service Unavailable", false)] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let everywhere = format!("0.0.0.0:{}", listener.local_addr().unwrap().port());
        let role = std::thread::spawn(move || {
            use std::io::{Read, Write};
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let read = stream.read(&mut request).unwrap();
            write!(
                stream,
                "HTTP/1.1 {status}\r\ncontent-length: 6\r\nconnection: close\r\n\r\nreason"
            )
            .unwrap();
            String::from_utf8_lossy(&request[..read]).into_owned()
        });
        let (code, output) = eventflow(
            &["healthcheck", "--ready"],
            &[("EVENTFLOW_OPS_LISTEN", &everywhere)],
        );
        assert!(role.join().unwrap().starts_with("GET /ready HTTP/1.1"));
        assert!(
            code == Some(i32::from(!healthy)) && output.contains("reason"),
            "{output}"
        );
    }
}

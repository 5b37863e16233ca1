//! The private server, its end and the end of its owner.

use super::process::gist;
use super::*;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

/// Authentication request 10 of the protocol: SASL.
const SASL: u32 = 10;

/// What the server asks a user for before letting it in, or none if nothing listens.
fn asks_for(port: u16) -> Option<u32> {
    let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    server
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let parameters = b"user\0eventflow\0database\0postgres\0\0";
    let mut startup = u32::try_from(parameters.len() + 8)
        .unwrap()
        .to_be_bytes()
        .to_vec();
    startup.extend(196_608_u32.to_be_bytes());
    startup.extend(parameters);
    server.write_all(&startup).ok()?;
    let mut answer = [0; 9];
    server.read_exact(&mut answer).ok()?;
    (answer[0] == b'R').then(|| u32::from_be_bytes([answer[5], answer[6], answer[7], answer[8]]))
}

fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not within {DEADLINE:?}");
        pause();
    }
}

#[test]
fn the_gist_of_a_failure_is_one_line_that_says_what_to_do() {
    let output = "creating directory /x ... ok\n[1] FATAL:  could not extend file: No space left on device\n[1] HINT:  Check.\n";
    assert_eq!(
        gist(output),
        "[1] FATAL:  could not extend file: No space left on device; free some space, or set TMPDIR to a folder on another disk"
    );
    assert_eq!(gist("1\n2\n\n3\n4\n"), "2; 3; 4");
}

#[test]
fn a_cluster_wants_a_password_survives_a_stop_and_a_kill_and_leaves_nothing() {
    let cluster = PrivatePostgres::start(false).unwrap();
    let (port, directory) = (cluster.port, cluster.directory.path().to_owned());
    assert_eq!(asks_for(port), Some(SASL));
    cluster.stop_server().unwrap();
    assert_eq!(asks_for(port), None);
    assert!(
        matches!(cluster.kill_server(), Err(PostgresError::Io(_))),
        "there is nothing to kill"
    );
    cluster.start_server().unwrap();
    assert_eq!(asks_for(port), Some(SASL));
    cluster.kill_server().unwrap();
    assert_eq!(asks_for(port), None);
    cluster.start_server().unwrap();
    assert_eq!(asks_for(port), Some(SASL));
    drop(cluster);
    assert_eq!(asks_for(port), None);
    assert!(!directory.exists());
}

/// The test runs itself once more, as the owner that is killed.
#[test]
fn a_killed_owner_takes_its_cluster_along() {
    const OWNER: &str = "EVENTFLOW_TEST_POSTGRES_OWNER";
    if std::env::var_os(OWNER).is_some() {
        let cluster = PrivatePostgres::start(false).unwrap();
        let line = format!(
            "\nowns {} {}\n",
            cluster.port,
            cluster.directory.path().display()
        );
        std::io::stdout().write_all(line.as_bytes()).unwrap();
        // Held until the kill; should the other test be gone, until it closes this pipe.
        std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
        return;
    }
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "postgres::tests::a_killed_owner_takes_its_cluster_along",
        ])
        .env(OWNER, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(owner.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok);
    let owns = lines
        .filter_map(|line| line.strip_prefix("owns ").map(str::to_owned))
        .next()
        .unwrap();
    let (port, directory) = owns.split_once(' ').unwrap();
    let port = port.parse().unwrap();
    assert_eq!(asks_for(port), Some(SASL));
    owner.kill().unwrap();
    owner.wait().unwrap();
    eventually("the server ends and its files go", || {
        asks_for(port).is_none() && !Path::new(directory).exists()
    });
}

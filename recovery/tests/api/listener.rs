//! The listener: HTTPS that verifies, plain HTTP only where it cannot be read on the way, and an end that lets requests finish.

use crate::world::{World, entries, token};
use recovery::http::{ApiArgs, serve};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// A certificate for `localhost`, its own authority, in files.
fn certificate(folder: &std::path::Path) -> (PathBuf, PathBuf) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    (certificate, key)
}

#[tokio::test(flavor = "multi_thread")]
async fn https_is_verified_and_ends_after_what_is_in_flight() {
    let world = World::new().await;
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = certificate(folder.path());
    let args = ApiArgs {
        tls_cert: Some(certificate.clone()),
        tls_key: Some(key),
        ..ApiArgs::default()
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn({
        let (router, shutdown) = (world.router.clone(), shutdown.clone());
        async move { serve(listener, router, &args, shutdown).await }
    });
    let url = format!("https://localhost:{port}/api/v1/stats");
    let authority = reqwest::Certificate::from_pem(&std::fs::read(&certificate).unwrap()).unwrap();
    let client = || {
        runtime::http_client::builder()
            .timeout(Duration::from_secs(20))
            .pool_max_idle_per_host(0)
    };
    let knows = client().tls_certs_only([authority]).build().unwrap();
    let answer = knows
        .get(&url)
        .bearer_auth(token("viewer"))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    let stranger = client().build().unwrap();
    assert!(
        stranger.get(&url).send().await.is_err(),
        "a certificate nobody vouches for was taken"
    );
    assert!(
        stranger
            .get(url.replace("https", "http"))
            .send()
            .await
            .is_err(),
        "plain HTTP was answered on the TLS port"
    );
    shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(20), serving)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert!(knows.get(&url).send().await.is_err());
}

#[tokio::test]
async fn what_would_show_tokens_or_cannot_work_is_refused_before_anything_is_served() {
    let everywhere: SocketAddr = "0.0.0.0:0".parse().unwrap();
    let here: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let plain = ApiArgs::default();
    assert_eq!(plain.check(everywhere).unwrap_err().setting, "--listen");
    assert!(plain.check(here).unwrap().is_empty());
    assert!(
        ApiArgs {
            insecure_http: true,
            ..ApiArgs::default()
        }
        .check(everywhere)
        .is_ok()
    );
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = certificate(folder.path());
    let with = |cert: &PathBuf, key: &PathBuf| ApiArgs {
        tls_cert: Some(cert.clone()),
        tls_key: Some(key.clone()),
        ..ApiArgs::default()
    };
    assert!(with(&certificate, &key).check(everywhere).is_ok());
    let nowhere = folder.path().join("nowhere.pem");
    assert_eq!(
        with(&nowhere, &key).check(here).unwrap_err().setting,
        "--tls-cert"
    );
    assert_eq!(
        with(&key, &key).check(here).unwrap_err().setting,
        "--tls-cert"
    );
    assert_eq!(
        with(&certificate, &nowhere)
            .check(here)
            .unwrap_err()
            .setting,
        "--tls-key"
    );
    assert_eq!(
        with(&certificate, &certificate)
            .check(here)
            .unwrap_err()
            .setting,
        "--tls-key"
    );
    let (tokens, _files) = entries();
    assert!(
        !ApiArgs {
            api_tokens: tokens,
            ..ApiArgs::default()
        }
        .check(here)
        .unwrap()
        .is_empty()
    );
    // And the listener itself refuses, whoever forgot to check.
    let listener = TcpListener::bind(everywhere).await.unwrap();
    let refused = serve(
        listener,
        axum::Router::new(),
        &plain,
        CancellationToken::new(),
    )
    .await
    .unwrap_err();
    assert!(refused.to_string().contains("--insecure-http"), "{refused}");
}

#[test]
fn the_help_shows_no_setting_that_names_a_token_and_a_token_given_instead_of_its_name_is_not_shown()
{
    use clap::{Args, FromArgMatches};
    let command = ApiArgs::augment_args(clap::Command::new("recovery"));
    let tokens = command
        .get_arguments()
        .find(|argument| argument.get_long() == Some("api-token"))
        .unwrap();
    assert!(tokens.is_hide_env_values_set());
    let matches = command
        .try_get_matches_from(["recovery", "--api-token", "alice:operator=LEAKED,LEAKED"])
        .unwrap();
    let args = ApiArgs::from_arg_matches(&matches).unwrap();
    assert_eq!(args.api_tokens.len(), 2);
    let refused = args
        .check("127.0.0.1:0".parse().unwrap())
        .unwrap_err()
        .to_string();
    assert!(
        refused.starts_with("--api-token: ") && !refused.contains("LEAKED"),
        "{refused}"
    );
}

//! A role logs in with the password it was given, on a real PostgreSQL.

#![allow(clippy::unwrap_used, reason = "a test")]

use contracts::Secret;
use sandbox::postgres::PrivatePostgres;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Connection as _};
use store::connect::login;
use store::users::Users;

async fn log_in(url: &str, password: &str) -> Result<PgConnection, sqlx::Error> {
    let options: PgConnectOptions = url.parse()?;
    options
        .username(&login("recovery"))
        .password(password)
        .connect()
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn any_password_logs_in_and_no_other_does() {
    let postgres = PrivatePostgres::start(false).unwrap();
    let url = postgres.url();
    let users = Users::new(&Secret::new(url.as_str())).unwrap();
    // ½ is prepared (RFC 4013) by client and server alike; the last has a quote, which no statement may end at.
    for password in ["plain", "pässwörd ½ пароль", "it's $1"] {
        users
            .create("recovery", &Secret::new(password))
            .await
            .unwrap();
        let session = log_in(&url, password).await.unwrap();
        session.close().await.unwrap();
        assert!(log_in(&url, "another").await.is_err(), "{password}");
    }
}

//! `eventflow now`: the pipeline as it is now.

use super::client::{Client, read};
use super::connection::Connection;
use super::error::CommandError;
use super::table::TextTable;
use super::{print, print_json};
use recovery::model::{FatesNow, Now, Quantiles};
use runtime::text::{age, put, span};

/// The pipeline now.
#[derive(Debug, clap::Args)]
pub(crate) struct NowArgs {
    #[command(flatten)]
    pub(crate) connection: Connection,
}

pub(super) async fn run(NowArgs { connection }: NowArgs) -> Result<(), CommandError> {
    let as_json = connection.json;
    let client = Client::new(connection.target()?).await?;
    let text = client.get("/api/v1/now", &[]).await?;
    if as_json {
        return print_json(&text);
    }
    print(&shown(&read(&text)?))
}

fn shown(now: &Now) -> String {
    let mut out = String::new();
    for attention in &now.attention {
        put(&mut out, &format!("ATTENTION  {}", attention.what));
        put(&mut out, &format!("           {}", attention.next));
    }
    let mut roles = TextTable::new(&[
        "ROLE",
        "STATE",
        "INSTANCES",
        "A SECOND",
        "FAILED A SECOND",
        "LAG",
        "REASON",
    ]);
    for role in &now.roles {
        roles.add(&[
            role.name.clone(),
            role.state.to_string(),
            role.instances.to_string(),
            rate(role.rate),
            rate(role.failed_rate),
            role.lag_seconds
                .map_or_else(String::new, |lag| span(lag.clamp(0.0, 1e9) as u64)),
            role.reasons.join("; "),
        ]);
    }
    out.push_str(&roles.to_string());
    out.push('\n');
    let mut sources = TextTable::new(&[
        "SOURCE",
        "A SECOND",
        "ACCEPTED",
        "REFUSED",
        "TO THE ANSWER",
        "TO THE ROW",
        "LAST SEEN",
    ]);
    for source in &now.sources {
        let refused = source
            .refused
            .iter()
            .map(|(code, count)| format!("{count} {code}"));
        sources.add(&[
            source.name.clone(),
            rate(source.rate),
            source.accepted.to_string(),
            refused.collect::<Vec<_>>().join(", "),
            quantiles(source.answer_seconds),
            quantiles(source.row_seconds),
            source.last_seen.map_or_else(String::new, age),
        ]);
    }
    out.push_str(&sources.to_string());
    out.push('\n');
    put(&mut out, &conservation(&now.fates));
    out
}

fn rate(rate: Option<f64>) -> String {
    rate.map_or_else(String::new, |rate| format!("{rate:.1}"))
}

/// p50 and p99.
fn quantiles(quantiles: Option<Quantiles>) -> String {
    let text = |seconds: f64| match seconds {
        seconds if seconds < 1.0 => format!("{:.0} ms", seconds * 1000.0),
        seconds => format!("{seconds:.1} s"),
    };
    quantiles.map_or_else(String::new, |it| {
        format!("{}, {}", text(it.p50), text(it.p99))
    })
}

/// Every raw record by its fate, as the audit last saw them.
fn conservation(fates: &FatesNow) -> String {
    let FatesNow {
        accepted,
        stored,
        duplicate,
        filtered,
        dead_lettered,
        in_flight,
        gaps,
        double_fates,
        checkpoint_age_seconds,
    } = fates;
    let when = checkpoint_age_seconds.map_or_else(
        || "not audited yet".to_owned(),
        |age| format!("audited {} ago", span(age.clamp(0.0, 1e9) as u64)),
    );
    let wrong = match gaps + double_fates {
        0 => "nothing is missing".to_owned(),
        _ => format!("{gaps} WITHOUT a fate, {double_fates} with two"),
    };
    format!(
        "{accepted} accepted = {stored} stored + {duplicate} duplicate + {filtered} filtered + {dead_lettered} dead-lettered + {in_flight} in flight; \
         {wrong} ({when})"
    )
}

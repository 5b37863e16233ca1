//! What one request of a vendor would become: the edge's and the validator's rules, offline and without the signature.

use super::File;
use super::offline::{self, Offline, RecordHeaders};
use contracts::event::{Catalog, Mappings};
use contracts::{Rejection, RejectionCode};
use std::path::PathBuf;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

#[derive(Debug, clap::Args)]
pub(super) struct Config {
    /// The source, as the sources file names it
    #[arg(long)]
    source: String,
    #[command(flatten)]
    file: File,
    /// Directory of further event contracts, the one that the validator has
    #[arg(long, env = "EVENTFLOW_CONTRACTS")]
    contracts: Option<PathBuf>,
    /// File with the request's headers, one "name: value" a line, as `curl -v` and vendors' pages show them
    #[arg(long)]
    headers: Option<PathBuf>,
    /// File with the body, byte for byte; - is standard input
    body: PathBuf,
}

pub(super) fn run(config: &Config) -> anyhow::Result<()> {
    let offline = Offline::read(config.file.path.as_deref())?;
    let source = offline.source(&config.source)?;
    let contracts = runtime::files::load_contracts(config.contracts.as_deref())?;
    let request = offline::read_headers(config.headers.as_deref())?;
    let body = crate::send::read(&config.body)?;
    println!("the signature is not checked here");
    let Some(records) = offline::records(source, &request, &body)? else {
        println!("a handshake: it is answered, and is no event");
        return Ok(());
    };
    println!(
        "headers kept: {} of {}{}",
        records.kept,
        request.len(),
        if records.left_out > 0 {
            format!("; {} did not fit", records.left_out)
        } else {
            String::new()
        }
    );
    if records.several {
        println!("{} events in the body", records.values.len());
    }
    for value in &records.values {
        println!(
            "{}",
            fate(&offline.mappings, &contracts, &records.headers, value)
        );
    }
    Ok(())
}

/// What the validator would make of a raw record.
fn fate(
    mappings: &Mappings,
    contracts: &Catalog,
    of_record: &RecordHeaders,
    value: &[u8],
) -> String {
    let found = &of_record[..];
    let opened = match mappings.open(&found, value) {
        Ok(opened) => opened,
        Err(rejection) => return dead_lettered(&rejection),
    };
    let envelope = match mappings.find(found, &opened) {
        Ok(envelope) => envelope,
        Err(rejection) => return dead_lettered(&rejection),
    };
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(envelope.time_micros) * 1000);
    let time = time.ok().and_then(|time| time.format(&Rfc3339).ok());
    let seen = format!(
        "id      {}\ntype    {}\ntime    {}\nentity  {}",
        envelope.id,
        envelope.event_type,
        time.unwrap_or_default(),
        envelope.entity.as_deref().unwrap_or("none: the id"),
    );
    if let Some(rule) = envelope.filtered {
        return format!("{seen}\nfate    filtered, by {rule:?}");
    }
    match contracts.validate(envelope) {
        Ok(event) => {
            let contract = event.contract();
            format!(
                "{seen}\nfate    stored, by the contract {}, version {}",
                contract.name, contract.version
            )
        }
        Err(rejection) => format!("{seen}\n{}", dead_lettered(&rejection)),
    }
}

fn dead_lettered(rejection: &Rejection) -> String {
    let code: RejectionCode = rejection.code;
    let at = rejection.pointer.as_deref().unwrap_or_default();
    format!(
        "fate    dead-lettered, {}{}{at}: {}",
        code.code(),
        if at.is_empty() { "" } else { " at " },
        rejection.detail
    )
}

//! `eventflow contracts ls` and `show`.

use super::Directory;
use crate::oncall::TextTable;
use contracts::event::{Catalog, Contract, FieldDescription};
use runtime::config::ConfigError;

#[derive(Debug, clap::Args)]
pub(super) struct Config {
    /// NAME, which is its newest version, or NAME/vN
    name: String,
    #[command(flatten)]
    directory: Directory,
    /// Print the Avro record that consumers read, written or derived
    #[arg(long, group = "part")]
    avro: bool,
    /// Print schema.json
    #[arg(long, group = "part")]
    schema: bool,
    /// Print only the fields
    #[arg(long, group = "part")]
    fields: bool,
}

/// Name, newest version first, and all of its versions.
fn versions(catalog: &Catalog) -> Vec<Vec<&Contract>> {
    let mut all: Vec<&Contract> = catalog.iter().collect();
    all.sort_by(|one, other| (&one.name, one.version).cmp(&(&other.name, other.version)));
    let by_name = all.chunk_by(|one, other| one.name == other.name);
    by_name.map(<[&Contract]>::to_vec).collect()
}

pub(super) fn list(directory: &Directory) -> Result<(), ConfigError> {
    let catalog = directory.catalog()?;
    let mut rows = TextTable::new(&["CONTRACT", "VERSIONS", "SCHEMA IDS", "COST", "RECORD"]);
    for versions in versions(&catalog) {
        let listed = |text: &dyn Fn(&Contract) -> String| {
            let texts: Vec<String> = versions.iter().map(|one| text(one)).collect();
            texts.join(",")
        };
        let Some(newest) = versions.last() else {
            continue;
        };
        rows.add(&[
            newest.name.clone(),
            listed(&|one| format!("v{}", one.version)),
            listed(&|one| one.schema_id.map_or("none".to_owned(), |id| id.to_string())),
            cost(newest),
            newest.record_name.clone(),
        ]);
    }
    print!("{rows}");
    Ok(())
}

fn cost(contract: &Contract) -> String {
    if contract.slow_keywords().is_empty() {
        "fast"
    } else {
        "slow"
    }
    .to_owned()
}

pub(super) fn run(config: &Config) -> Result<(), ConfigError> {
    let catalog = config.directory.catalog()?;
    let contract =
        find(&catalog, &config.name).map_err(|problem| ConfigError::new("NAME", problem))?;
    if config.avro {
        print!("{}", contracts::json::pretty(&contract.record_avsc));
    } else if config.schema {
        println!("{}", contract.schema_json.trim_end());
    } else {
        if !config.fields {
            print!("{}", head(&catalog, contract));
        }
        print!("{}", fields(contract));
    }
    Ok(())
}

/// The contract of a name, or of a name with a version: `order.placed/v1` or `order.placed.v1`.
pub(super) fn find<'c>(catalog: &'c Catalog, name: &str) -> Result<&'c Contract, String> {
    let dotted = name.replace("/v", ".v");
    catalog.contract(&dotted).ok_or_else(|| {
        let all = versions(catalog);
        let known = all
            .iter()
            .flatten()
            .map(|one| format!("{}/v{}", one.name, one.version));
        format!(
            "there is no contract {name:?}; there are {}",
            known.collect::<Vec<_>>().join(", ")
        )
    })
}

fn head(catalog: &Catalog, contract: &Contract) -> String {
    let same = |one: &&Contract| one.name == contract.name;
    let mut numbers: Vec<u32> = catalog.iter().filter(same).map(|one| one.version).collect();
    numbers.sort_unstable();
    let numbers: Vec<String> = numbers.iter().map(|number| format!("v{number}")).collect();
    let cost = match contract.slow_keywords() {
        [] => "fast: checked in one pass".to_owned(),
        slow => format!("slow: jsonschema judges {}", slow.join(", ")),
    };
    let id = contract
        .schema_id
        .map_or("none".to_owned(), |id| id.to_string());
    let mut text = String::new();
    for (name, value) in [
        (
            "contract",
            format!("{}/v{}", contract.name, contract.version),
        ),
        ("versions", numbers.join(", ")),
        ("schema id", id),
        ("record", contract.record_name.clone()),
        ("cost", cost),
    ] {
        text += &format!("{name:<10} {value}\n");
    }
    text + "\n"
}

fn fields(contract: &Contract) -> String {
    let mut rows = TextTable::new(&["FIELD", "TYPE", "REQUIRED", "RULES", "CODES"]);
    for field in contract.describe() {
        let FieldDescription {
            pointer,
            kind,
            required,
            nullable,
            rules,
            codes,
        } = field;
        let codes: Vec<&str> = codes
            .into_iter()
            .map(contracts::RejectionCode::code)
            .collect();
        rows.add(&[
            if pointer.is_empty() {
                "(payload)".to_owned()
            } else {
                pointer
            },
            format!("{kind}{}", if nullable { " or null" } else { "" }),
            if required { "yes" } else { "no" }.to_owned(),
            rules.join("; "),
            codes.join(", "),
        ]);
    }
    rows.to_string()
}

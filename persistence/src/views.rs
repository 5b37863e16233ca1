//! Typed SQL views over the stored rows, one for each contract that declares fields: for people who query.
//!
//! [`definition`] makes the `SELECT` of a contract, [`names`] its name and those of its columns, [`database`] brings a database in step.
//! The views are in a schema of their own and read [`stored_events`](crate::writer::VIEWS), nothing else. Each says in its comment that it is
//! ours, of which contract, and by which definition: nothing else in the schema is touched.

pub mod database;
mod definition;
mod names;

use contracts::event::{Catalog, Contract};
use std::collections::BTreeMap;
use store::connect::login;

pub use names::quoted;

/// The schema of the views.
pub const SCHEMA: &str = "events";

/// Who may read them: a role without a login, granted to people.
#[must_use]
pub fn reader() -> String {
    login("reader")
}

/// The view of one contract, in all its versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Its name in the schema, not quoted
    pub name: String,
    /// The contract
    pub contract: String,
    /// Names, not quoted, and types of its columns
    pub columns: Vec<(String, &'static str)>,
    /// Its `SELECT`
    pub definition: String,
}

/// The views of these contracts, by their names. A contract that declares no field has none.
#[must_use]
pub fn of(contracts: &Catalog) -> Vec<View> {
    let mut by_name: BTreeMap<&str, Vec<&Contract>> = BTreeMap::new();
    for contract in contracts.iter() {
        by_name.entry(&contract.name).or_default().push(contract);
    }
    for versions in by_name.values_mut() {
        versions.sort_by_key(|contract| contract.version);
    }
    let newest_declares = |versions: &Vec<&Contract>| {
        let newest = versions.last();
        newest.is_some_and(|newest| newest.fields().next().is_some())
    };
    by_name.retain(|_, versions| newest_declares(versions));
    let names = names::of_views(by_name.keys().copied());
    let mut views: Vec<View> = names
        .into_iter()
        .zip(by_name.values())
        .filter_map(|(name, versions)| definition::view(name, versions))
        .collect();
    views.sort_by(|one, other| one.name.cmp(&other.name));
    views
}

//! What an event must be: where its envelope is ([`Mapping`]), the [`Catalog`] of contracts, which describe payloads, and [`money`], what an
//! amount is.

mod catalog;
mod changes;
mod compatibility;
mod contract;
mod derive;
mod describe;
mod examples;
mod infer;
pub(crate) mod locator;
mod mapping;
mod mappings;
pub mod money;
mod order;
mod plan;
mod role;
mod schema;
pub(crate) mod time;

pub(crate) use catalog::files_in;
pub use catalog::{Catalog, ContractError, ContractFiles, pinned, version_of};
pub use changes::{Breaks, Change, Compatibility, changes, changes_in_place, record_changes};
pub use compatibility::{AvroSchema, backward_compatible, can_read};
pub use contract::{Contract, Validated};
pub use describe::FieldDescription;
pub use examples::notes_to_do;
pub use infer::infer;
pub use locator::{Located, Locator};
pub use mapping::{Envelope, HeaderValues, Mapping, Sample, TimeWritten, Unknown, Written};
pub use mappings::Mappings;
pub use order::says_more;
pub use plan::{DeclaredField, FieldKind};
pub use role::Role;

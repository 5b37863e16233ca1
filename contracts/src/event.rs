//! What an event must be: the [`Catalog`] of contracts, and [`money`], what an amount is.

mod catalog;
pub mod money;
mod plan;

pub use catalog::{
    Catalog, Contract, ContractError, ContractFiles, Validated, backward_compatible,
};

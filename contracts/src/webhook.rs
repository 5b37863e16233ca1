//! Who may post a webhook, and how it is proven: [`source`] a vendor, [`scheme`] its way to sign as data, [`signature`] the verdict.

mod locator;
mod mac;
pub mod scheme;
pub mod signature;
pub mod source;
mod template;

//! Who may post a webhook, and how it is proven: [`source`] a vendor, [`scheme`] its way to sign as data, [`signature`] the verdict,
//! [`unproven`] what is accepted without proof.

pub mod answer;
pub mod body;
mod credential;
pub mod diagnose;
pub mod draft;
mod encoding;
pub mod handshake;
pub mod kept;
mod mac;
pub mod preset;
pub mod refused;
pub mod resends;
pub mod scheme;
pub mod signature;
pub mod source;
mod template;
pub mod unproven;

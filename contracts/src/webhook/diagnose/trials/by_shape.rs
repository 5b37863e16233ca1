//! What the headers look like, where no signature could be computed, or none fits.

use super::{Found, MACS, Mistake, Trials, likely};
use crate::webhook::preset;
use crate::webhook::scheme::Scheme;
use http::HeaderName;

impl Trials<'_> {
    pub(super) fn missing(&self) -> Option<Found> {
        let mut absent: Vec<_> = self
            .source
            .verifier
            .signature_headers()
            .chain(self.source.verifier.secret_headers())
            .map(HeaderName::as_str)
            .filter(|name| !self.has(name))
            .collect();
        absent.sort_unstable();
        absent.dedup();
        let vendors: Vec<_> = preset::names()
            .into_iter()
            .filter(|name| *name != self.source.scheme_name)
            .filter(|name| {
                Scheme::preset(name).is_some_and(|scheme| {
                    let names = &scheme.signature_header.0;
                    let is_own = |name: &String| self.scheme().signature_header.0.contains(name);
                    names.iter().any(|name| self.has(name) && !is_own(name))
                })
            })
            .take(4)
            .collect();
        if !vendors.is_empty() {
            return likely(
                Mistake::OtherScheme,
                format!(
                    "missing: {}; but it has headers of the preset {}",
                    absent.join(", "),
                    vendors.join(" or ")
                ),
            );
        }
        likely(
            Mistake::HeadersMissing,
            format!("missing: {}", absent.join(", ")),
        )
    }

    pub(super) fn shape(&mut self) -> Option<Found> {
        if self.evidence.body.is_none()
            && let Some(found) = self
                .signature_text()
                .or_else(|| self.encoding())
                .or_else(|| self.time_unit())
        {
            return Some(found);
        }
        let scheme = self.scheme();
        let (_, most) = scheme.algorithm.signature_bytes();
        let whole = scheme.encoding.characters(most);
        for name in self.signature_headers() {
            let value = self.value(&name)?;
            let last = scheme.separator.map_or(value, |separator| {
                value.rsplit(separator).next().unwrap_or(value)
            });
            let sent = last.trim().strip_prefix(&scheme.prefix).map(str::len);
            if MACS.contains(&scheme.algorithm)
                && let Some(sent) = sent
                && (1..whole).contains(&sent)
            {
                return likely(
                    Mistake::SignatureCutOff,
                    format!(
                        "{name} has {sent} characters of a signature; {} has {whole}",
                        scheme.algorithm.words()
                    ),
                );
            }
        }
        None
    }
}

//! What is signed: the URL, the parts of the request, the body; and where the signature is.

use super::{Evidence, Found, Mistake, Trials, certain};
use crate::webhook::diagnose::bodies;
use crate::webhook::preset;
use crate::webhook::scheme::{HeaderNames, Scheme};
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

const TEMPLATES: [&str; 14] = [
    "{body}",
    "{timestamp}.{body}",
    "{timestamp}{body}",
    "{timestamp}:{body}",
    "{timestamp}\n{body}",
    "{body}{timestamp}",
    "{body}.{timestamp}",
    "v0:{timestamp}:{body}",
    "{id}.{timestamp}.{body}",
    "{id}.{body}",
    "{url}{body}",
    "{body}{url}",
    "{method}{url}{body}",
    "{body-sha256}",
];

impl Trials<'_> {
    pub(super) fn url(&mut self) -> Option<Found> {
        let configured = self.source.public_url.as_deref()?;
        if !self.scheme().template.contains("{url}") {
            return None;
        }
        for url in urls(configured, self.evidence) {
            let verifier = self.source.verifier_at(&url);
            if verifier.is_some_and(|verifier| self.fits_as_sent(&verifier)) {
                return certain(
                    Mistake::UrlDiffers,
                    format!("signed is {url:?}; public_url is {configured:?}"),
                );
            }
        }
        None
    }

    pub(super) fn parts(&mut self) -> Option<Found> {
        let own = self.scheme();
        for template in TEMPLATES {
            if template == own.template {
                continue;
            }
            let mut scheme = own.clone();
            template.clone_into(&mut scheme.template);
            scheme.freshness = None;
            let verifier = self.with_scheme(scheme);
            if verifier.is_some_and(|verifier| self.fits_as_sent(&verifier)) {
                return certain(
                    Mistake::OtherParts,
                    format!("signed is {template:?}; the scheme says {:?}", own.template),
                );
            }
        }
        None
    }

    pub(super) fn other_scheme(&mut self) -> Option<Found> {
        for name in preset::names() {
            let Some(scheme) = Scheme::preset(name) else {
                continue;
            };
            if scheme == *self.scheme() {
                continue;
            }
            let verifier = self.with_scheme(scheme);
            if verifier.is_some_and(|verifier| self.fits_as_sent(&verifier)) {
                return certain(
                    Mistake::OtherScheme,
                    format!(
                        "it is signed as the preset {name:?} says, with this source's secret; the source has the scheme {:?}",
                        self.source.scheme_name
                    ),
                );
            }
        }
        None
    }

    pub(super) fn other_header(&mut self) -> Option<Found> {
        let own = self.scheme();
        self.evidence.body?;
        if own.signature_header.0.is_empty() {
            return None;
        }
        let names: Vec<_> = self.evidence.headers.keys().take(64).cloned().collect();
        for name in names {
            if own
                .signature_header
                .0
                .iter()
                .any(|own| own.eq_ignore_ascii_case(name.as_str()))
            {
                continue;
            }
            let mut scheme = own.clone();
            scheme.signature_header = HeaderNames(vec![name.to_string()]);
            let verifier = self.with_scheme(scheme);
            if verifier.is_some_and(|verifier| self.fits_as_sent(&verifier)) {
                return certain(
                    Mistake::OtherHeader,
                    format!(
                        "it is in {name}; the scheme says {}",
                        own.signature_header.0.join(" or ")
                    ),
                );
            }
        }
        None
    }

    pub(super) fn body(&mut self) -> Option<Found> {
        let (body, source) = (self.evidence.body?, self.source);
        if source.verifier.precheck(self.evidence.headers).is_err() {
            return None;
        }
        let mut seen = HashSet::new();
        for variant in bodies::variants(body) {
            let mut hasher = DefaultHasher::new();
            variant.body.hash(&mut hasher);
            if !seen.insert(hasher.finish()) {
                continue;
            }
            if self.fits(&source.verifier, self.evidence.headers, &variant.body) {
                return certain(variant.mistake, variant.detail);
            }
            if self.is_cut_short {
                return None;
            }
        }
        None
    }
}

/// URLs that a sender may have instead of the configured one.
fn urls(configured: &str, evidence: &Evidence<'_>) -> Vec<String> {
    let Some((scheme, rest)) = configured.split_once("://") else {
        return Vec::new();
    };
    let (host, path) = rest
        .find(['/', '?'])
        .map_or((rest, ""), |at| rest.split_at(at));
    let bare = host.rsplit_once(':').map_or(host, |(bare, port)| {
        if port.bytes().all(|byte| byte.is_ascii_digit()) {
            bare
        } else {
            host
        }
    });
    let mut hosts = vec![
        host.to_owned(),
        bare.to_owned(),
        format!("{bare}:443"),
        format!("{bare}:80"),
    ];
    for name in ["host", "x-forwarded-host", "x-original-host"] {
        let sent = evidence
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok());
        hosts.extend(sent.filter(|sent| sent.len() <= 255).map(str::to_owned));
    }
    let mut paths = vec![path.to_owned()];
    match path.strip_suffix('/') {
        Some(without) => paths.push(without.to_owned()),
        None => paths.push(format!("{path}/")),
    }
    if let Some((without, _)) = path.split_once('?') {
        paths.push(without.to_owned());
    }
    if let Some(query) = evidence.query.filter(|query| !query.is_empty()) {
        paths.push(format!("{path}?{query}"));
    }
    let other = if scheme == "https" { "http" } else { "https" };
    let mut urls = Vec::new();
    for scheme in [scheme, other] {
        for host in &hosts {
            for path in &paths {
                let url = format!("{scheme}://{host}{path}");
                if url != configured && !urls.contains(&url) {
                    urls.push(url);
                }
            }
        }
    }
    urls
}

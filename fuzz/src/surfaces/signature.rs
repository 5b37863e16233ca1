//! Signature headers and the body they are of.

use super::request;
use contracts::Secret;
use contracts::webhook::preset;
use contracts::webhook::scheme::{Method, Scheme};
use contracts::webhook::signature::{Key, SignedRequest, Verifier};
use http::{HeaderMap, HeaderName, HeaderValue};
use std::fmt::Write as _;
use std::sync::LazyLock;

const NOW: i64 = 1_700_000_000;
/// Nothing in the examples is signed with it, and it is not to be guessed.
const SECRET: &str = "c2VjcmV0IG9mIHRoZSBmdXp6ZXIgMDEyMzQ1Njc4OWFiY2RlZg==";
/// Signs the examples: no mutation of them makes a signature of [`SECRET`], as the change of a digit could.
const ANOTHER: &str = "YW5vdGhlciBzZWNyZXQgb2YgdGhlIGZ1enplciAwMTIzNDU2Nzg5YQ==";

static VERIFIERS: LazyLock<Vec<Verifier>> = LazyLock::new(|| verifiers(SECRET));

/// Of every preset that signs by a MAC.
fn verifiers(secret: &str) -> Vec<Verifier> {
    let schemes = preset::names().into_iter().filter_map(Scheme::preset);
    let by_mac = schemes.filter(|scheme| scheme.algorithm.method() == Method::Mac);
    let key = || Key {
        id: "k".to_owned(),
        secret: Secret::new(secret),
        not_after: None,
    };
    let url = Some("https://a.example/x".to_owned());
    let verifier = |scheme| Verifier::new(scheme, vec![key()], url.clone()).ok();
    by_mac.filter_map(verifier).collect()
}

pub(super) fn run(data: &[u8]) {
    let Some((which, data)) = data.split_first() else {
        return;
    };
    let verifier = &VERIFIERS[usize::from(*which) % VERIFIERS.len()];
    let (pairs, body) = request(data);
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_bytes(&value))
        {
            headers.append(name, value);
        }
    }
    let quick = verifier.precheck(&headers).map(drop);
    let request = SignedRequest::post(&headers, body);
    match verifier.verify(&request, NOW) {
        Ok(_) => panic!("verified, and nobody signed it"),
        // Some need the body for it, too: a header names what is signed of it.
        Err(error) => assert!(quick.is_ok() || error.is_malformed(), "{error:?}"),
    }
}

pub(super) fn examples() -> Vec<Vec<u8>> {
    let sign = |(index, verifier): (usize, &Verifier)| {
        let headers = verifier.sign(Some("msg_1"), NOW, b"{\"id\":1}", 0);
        let mut text = String::new();
        for (name, value) in headers {
            let _ = writeln!(text, "{name}: {value}");
        }
        let mut data = vec![u8::try_from(index).unwrap_or_default()];
        data.extend_from_slice(text.as_bytes());
        data.extend_from_slice(b"\n{\"id\":1}");
        data
    };
    let verifiers = verifiers(ANOTHER);
    let able = verifiers.iter().enumerate();
    able.filter(|(_, verifier)| verifier.can_sign().is_ok())
        .map(sign)
        .collect()
}

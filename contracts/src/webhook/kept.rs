//! Which headers of a request travel with its raw record: what is not kept at the edge, no mapping can read later.

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// Most that the headers of one request may have in its raw record, names and values together, in bytes. What the scheme and the mapping need
/// does not count against it: the edge reads a head of 16 KiB at most, so a raw record's headers are bounded in any case.
pub const KEPT_BYTES: usize = 8 << 10;

/// What a source keeps of its requests' headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptHeaders {
    /// Always kept: what the signature, the mapping and the body's form are read from
    needed: Vec<HeaderName>,
    /// Never kept: a scheme's token is the secret itself
    secret: Vec<HeaderName>,
    /// `None` is every one that is not refused
    keep: Option<Vec<Pattern>>,
    drop: Vec<Pattern>,
}

/// The headers that are kept of one request.
#[derive(Debug, PartialEq, Eq)]
pub struct Kept<'h> {
    /// What is needed first. A header that came twice is here twice, and values are bytes as received
    pub headers: Vec<(&'h HeaderName, &'h HeaderValue)>,
    /// How many did not fit beside the others
    pub left_out: usize,
}

/// A header's name, or how it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    Name(String),
    Prefix(String),
}

impl KeptHeaders {
    /// Compiles `keep_headers` and `drop_headers`: names, or beginnings of names with a `*` (`x-shopify-*`).
    ///
    /// # Errors
    /// Names the field and the pattern that cannot be meant.
    pub(crate) fn new(
        needed: Vec<HeaderName>,
        secret: Vec<HeaderName>,
        keep: Option<&[String]>,
        drop: &[String],
    ) -> Result<Self, String> {
        if let Some(name) = needed.iter().find(|name| is_ours(name.as_str())) {
            return Err(format!(
                "header {name}: names that begin with ef. or __ are EventFlow's own; the vendor cannot use them"
            ));
        }
        if let Some(name) = needed.iter().find(|name| secret.contains(name)) {
            return Err(format!(
                "header {name}: the scheme's secret is in it, so it is never kept, and the mapping cannot read it"
            ));
        }
        let parse = |field: &str, patterns: &[String]| -> Result<Vec<Pattern>, String> {
            let parse = |text: &String| Pattern::parse(text);
            let parsed: Result<_, _> = patterns.iter().map(parse).collect();
            parsed.map_err(|problem| format!("{field}: {problem}"))
        };
        let keep = keep
            .map(|patterns| parse("keep_headers", patterns))
            .transpose()?;
        let drop = parse("drop_headers", drop)?;
        for pattern in keep.iter().flatten() {
            if let Pattern::Name(name) = pattern
                && is_refused(name)
            {
                return Err(format!(
                    "keep_headers: {name:?} is never kept: it is a credential, or it is about the connection and not the event"
                ));
            }
        }
        for pattern in &drop {
            if let Pattern::Name(name) = pattern
                && needed.iter().any(|needed| needed.as_str() == name)
            {
                return Err(format!(
                    "drop_headers: {name:?} is needed by the scheme, the mapping or the body's form; it is always kept"
                ));
            }
        }
        Ok(Self {
            needed,
            secret,
            keep,
            drop,
        })
    }

    /// The headers to write into the raw record. Of what is not needed, each that still fits into [`KEPT_BYTES`] with those before it.
    #[must_use]
    pub fn of<'h>(&'h self, headers: &'h HeaderMap) -> Kept<'h> {
        let mut kept = Kept {
            headers: Vec::with_capacity(headers.len()),
            left_out: 0,
        };
        for name in &self.needed {
            let values = headers.get_all(name).iter();
            kept.headers.extend(values.map(|value| (name, value)));
        }
        let mut bytes: usize = kept.headers.iter().map(|header| size(*header)).sum();
        for (name, value) in headers {
            let is_settled = self.needed.contains(name) || self.secret.contains(name);
            if is_settled || !self.keeps(name.as_str(), headers) {
                continue;
            }
            if bytes + size((name, value)) > KEPT_BYTES {
                kept.left_out += 1;
            } else {
                bytes += size((name, value));
                kept.headers.push((name, value));
            }
        }
        kept
    }

    fn keeps(&self, name: &str, headers: &HeaderMap) -> bool {
        let is_in = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(name));
        let wanted = self.keep.as_deref().is_none_or(is_in) && !is_in(&self.drop);
        wanted && !is_refused(name) && !is_of_this_connection(name, headers)
    }
}

fn size((name, value): (&HeaderName, &HeaderValue)) -> usize {
    name.as_str().len() + value.len()
}

impl Pattern {
    fn parse(text: &str) -> Result<Self, String> {
        let (name, is_beginning) = match text.strip_suffix('*') {
            Some(beginning) => (beginning.to_ascii_lowercase(), true),
            None => (text.to_ascii_lowercase(), false),
        };
        let is_name = HeaderName::try_from(&name).is_ok() || text == "*";
        match (is_name && !name.contains('*'), is_beginning) {
            (true, true) => Ok(Self::Prefix(name)),
            (true, false) => Ok(Self::Name(name)),
            (false, _) => Err(format!(
                "{text:?} is no header name, nor the beginning of one with a * at its end"
            )),
        }
    }

    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Name(own) => own == name,
            Self::Prefix(beginning) => name.starts_with(beginning.as_str()),
        }
    }
}

/// A name that a reader of the record would take for one that EventFlow, or another dead-letter queue, wrote.
fn is_ours(name: &str) -> bool {
    name.starts_with("ef.") || name.starts_with("__")
}

/// Never kept: credentials, what proxies and content delivery networks add on the way, what is about one connection (RFC 9110, 7.6.1), how the
/// body was framed or compressed (a raw value that is compressed says so itself), and names that could pass for ours. `traceparent` is written by the edge itself.
fn is_refused(name: &str) -> bool {
    is_ours(name)
        || REFUSED_BEGINNINGS
            .iter()
            .any(|beginning| name.starts_with(beginning))
        || matches!(
            name,
            "authorization"
                | "proxy-authorization"
                | "proxy-authenticate"
                | "cookie"
                | "set-cookie"
                | "x-api-key"
                | "x-auth-token"
                | "x-amz-security-token"
                | "forwarded"
                | "via"
                | "x-real-ip"
                | "x-client-ip"
                | "x-cluster-client-ip"
                | "x-original-forwarded-for"
                | "x-original-host"
                | "x-original-url"
                | "x-rewrite-url"
                | "true-client-ip"
                | "cdn-loop"
                | "x-amzn-trace-id"
                | "x-cloud-trace-context"
                | "connection"
                | "proxy-connection"
                | "keep-alive"
                | "te"
                | "trailer"
                | "transfer-encoding"
                | "upgrade"
                | "http2-settings"
                | "expect"
                | "content-length"
                | "content-encoding"
                | "traceparent"
        )
}

const REFUSED_BEGINNINGS: &[&str] = &[
    "x-forwarded-",
    "cf-",
    "x-envoy-",
    "x-amzn-oidc-",
    "x-amz-cf-",
    "x-azure-",
    "x-appengine-",
    "fastly-",
    "fly-",
    "x-vercel-",
];

/// `Connection` may name further headers that are about this connection only.
fn is_of_this_connection(name: &str, headers: &HeaderMap) -> bool {
    let named = |value: &HeaderValue| {
        let mut names = value.as_bytes().split(|byte| *byte == b',');
        names.any(|named| named.trim_ascii().eq_ignore_ascii_case(name.as_bytes()))
    };
    headers.get_all(header::CONNECTION).iter().any(named)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kept_headers(
        needed: &[&str],
        keep: Option<&[&str]>,
        drop: &[&str],
    ) -> Result<KeptHeaders, String> {
        let texts = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let needed = needed.iter().map(|name| name.parse().unwrap()).collect();
        let keep: Option<Vec<String>> = keep.map(texts);
        let drop: Vec<String> = texts(drop);
        let secret = vec![HeaderName::from_static("x-secret-token")];
        KeptHeaders::new(needed, secret, keep.as_deref(), &drop)
    }

    fn map(headers: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            map.append(name.parse::<HeaderName>().unwrap(), value);
        }
        map
    }

    fn names(kept: &Kept<'_>) -> Vec<String> {
        let mut names: Vec<_> = kept
            .headers
            .iter()
            .map(|(name, _)| name.to_string())
            .collect();
        names.sort();
        names
    }

    const REQUEST: &[(&str, &str)] = &[
        ("host", "hooks.example"),
        ("x-secret-token", "the secret itself"),
        ("x-github-event", "push"),
        ("X-GitHub-Hook-ID", "1"),
        ("x-hub-signature-256", "sha256=00"),
        ("user-agent", "GitHub-Hookshot/1"),
        ("content-type", "application/json"),
        ("content-length", "2"),
        ("authorization", "Basic c2VjcmV0"),
        ("cookie", "session=secret"),
        ("x-api-key", "secret"),
        ("x-forwarded-for", "1.2.3.4"),
        ("x-forwarded-anything", "1"),
        ("cf-ray", "1"),
        ("via", "1.1 proxy"),
        ("ef.source", "another"),
        ("EF.raw", "0:1"),
        ("__dlq.errors.topic", "events.raw.v1"),
        ("traceparent", "00-x-y-01"),
        ("connection", "close, X-Hop"),
        ("x-hop", "1"),
        ("keep-alive", "5"),
    ];

    #[test]
    fn all_is_kept_but_credentials_the_way_here_and_names_that_pass_for_ours() {
        let all = [
            "content-type",
            "host",
            "user-agent",
            "x-github-event",
            "x-github-hook-id",
            "x-hub-signature-256",
        ];
        let of_github = ["x-github-event", "x-github-hook-id", "x-hub-signature-256"];
        for (keep, drop, expected) in [
            (None, &[][..], &all[..]),
            (None, &["host", "User-Agent", "content-*"], &of_github),
            (Some(&["x-github-*"][..]), &[], &of_github),
            (Some(&["X-GitHub-*"]), &["x-github-hook-*"], &of_github[..1]),
            (Some(&[]), &[], &[]),
            (None, &["*"], &[]),
            (Some(&["*"]), &[], &all),
        ] {
            let headers = map(REQUEST);
            let rules = kept_headers(&["x-hub-signature-256"], keep, drop).unwrap();
            let kept = rules.of(&headers);
            let mut expected: Vec<_> = expected.iter().map(|&name| name.to_owned()).collect();
            expected.push("x-hub-signature-256".to_owned());
            expected.sort();
            expected.dedup();
            assert_eq!(names(&kept), expected, "{keep:?} {drop:?}");
            assert_eq!(kept.left_out, 0);
            assert_eq!(
                kept.headers[0].0, "x-hub-signature-256",
                "what is needed is first"
            );
        }
    }

    #[test]
    fn what_came_twice_is_kept_twice_and_bytes_stay_as_they_are() {
        let headers = map(&[("x-a", "1"), ("x-a", "2"), ("x-b", "é")]);
        let rules = kept_headers(&["x-a"], None, &[]).unwrap();
        let kept = rules.of(&headers);
        let values: Vec<_> = kept.headers.iter().map(|(_, v)| v.as_bytes()).collect();
        assert_eq!(values, [&b"1"[..], b"2", "é".as_bytes()]);
    }

    #[test]
    fn what_is_needed_is_kept_whole_and_the_rest_as_far_as_it_fits() {
        let long = "x".repeat(KEPT_BYTES - 10);
        let (needed, rest) = (("x-needed", long.as_str()), ("x-rest", "1234"));
        for (headers, kept, left_out) in [
            (&[("x-a", long.as_str()), rest, ("b", "2")][..], 2, 1),
            (&[needed, rest, ("b", "2")], 2, 1),
            (&[needed, needed, rest], 2, 1),
        ] {
            let headers = map(headers);
            let rules = kept_headers(&["x-needed"], None, &[]).unwrap();
            let of = rules.of(&headers);
            assert_eq!((of.headers.len(), of.left_out), (kept, left_out));
        }
    }

    #[test]
    fn a_pattern_that_cannot_be_meant_is_refused() {
        for (keep, drop, problem) in [
            (&["authorization"][..], &[][..], "is never kept"),
            (&["ef.source"], &[], "is never kept"),
            (&["a b"], &[], "is no header name"),
            (&[""], &[], "is no header name"),
            (&["*-event"], &[], "is no header name"),
            (&["x-**"], &[], "is no header name"),
            (&[], &["x-needed"], "is needed by"),
        ] {
            let refused = kept_headers(&["x-needed"], Some(keep), drop).unwrap_err();
            assert!(refused.contains(problem), "{keep:?} {drop:?}: {refused}");
        }
        let ours = kept_headers(&["ef.signature"], None, &[]).unwrap_err();
        assert!(ours.contains("EventFlow's own"), "{ours}");
        let secret = kept_headers(&["x-secret-token"], None, &[]).unwrap_err();
        assert!(secret.contains("the scheme's secret is in it"), "{secret}");
    }

    proptest! {
        #[test]
        fn any_head_is_bounded_and_nothing_refused_passes(
            head in proptest::collection::vec(("(x-|ef\\.|__|cf-)?[a-z]{1,8}", "[ -~]{0,2000}"), 0..20),
        ) {
            let headers: Vec<_> = head.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let headers = map(&headers);
            let rules = kept_headers(&[], None, &[]).unwrap();
            let kept = rules.of(&headers);
            prop_assert!(kept.headers.iter().map(|header| size(*header)).sum::<usize>() <= KEPT_BYTES);
            prop_assert!(kept.headers.iter().all(|(name, _)| !is_refused(name.as_str())));
            let refused = headers.keys().filter(|name| is_refused(name.as_str()));
            let refused: usize = refused.map(|name| headers.get_all(name).iter().count()).sum();
            prop_assert_eq!(kept.headers.len() + kept.left_out + refused, headers.len());
        }
    }
}

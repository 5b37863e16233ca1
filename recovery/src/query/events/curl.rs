//! A raw record as the command that sends it.

use contracts::kafka::headers;
use contracts::webhook::source::INGEST;

/// Longest body on a command line, in bytes: a shell takes no longer argument.
const BODY_BYTES: usize = 100_000;

/// Sends the same bytes with the headers that were kept; none where that is not what the vendor sent: a part of a batch, or a payload that
/// came with an API key. A signed time may be too old by now.
pub(super) fn command(kept: &[(String, Option<Vec<u8>>)], body: &str) -> Option<String> {
    let header = |name: &str| {
        let (_, value) = kept.iter().find(|(known, _)| known == name)?;
        std::str::from_utf8(value.as_deref()?).ok()
    };
    let source = header(headers::SOURCE)?;
    if header(headers::BATCH).is_some() || source == INGEST || body.len() > BODY_BYTES {
        return None;
    }
    let query = header(headers::QUERY).map_or_else(String::new, |query| format!("?{query}"));
    let url = quoted(&format!("/api/webhooks/{source}{query}"));
    let mut command = format!("curl -sS -X POST \"$EVENTFLOW_EDGE_URL\"{url}");
    let ours = |name: &str| {
        name.starts_with("ef.") || name.starts_with("__") || name == headers::TRACEPARENT
    };
    for (name, value) in kept.iter().filter(|(name, _)| !ours(name)) {
        let value = std::str::from_utf8(value.as_deref()?).ok()?;
        command.push_str(&format!(
            " \\\n  -H {}",
            quoted(&format!("{name}: {value}"))
        ));
    }
    if header(headers::CONTENT_TYPE).is_none() {
        // Otherwise curl says that it is a form.
        command.push_str(" \\\n  -H 'content-type:'");
    }
    command.push_str(&format!(" \\\n  --data-raw {}", quoted(body)));
    Some(command)
}

/// One word for a shell, whatever is in it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test")]
    use super::command;

    fn kept(pairs: &[(&str, &str)]) -> Vec<(String, Option<Vec<u8>>)> {
        let pair =
            |&(name, value): &(&str, &str)| (name.to_owned(), Some(value.as_bytes().to_vec()));
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn a_shell_runs_nothing_of_what_a_vendor_sent() {
        let headers = kept(&[
            ("ef.source", "acme"),
            ("x-signature", "v1='$(touch x)'"),
            ("content-type", "application/json"),
            ("traceparent", "00-1-2-03"),
        ]);
        let text = command(&headers, "{\"a\":\"'; rm -rf ~ `id` $HOME\"}").unwrap();
        let words = "printf '%s\\n' \"$@\"";
        let script = text.replacen("curl ", "set -- ", 1) + "\n" + words;
        let output = std::process::Command::new("sh")
            .args(["-c", &script])
            .env("EVENTFLOW_EDGE_URL", "http://edge")
            .output()
            .unwrap();
        assert_eq!(
            String::from_utf8(output.stdout).unwrap(),
            "-sS\n-X\nPOST\nhttp://edge/api/webhooks/acme\n-H\nx-signature: v1='$(touch x)'\n-H\ncontent-type: application/json\n\
             --data-raw\n{\"a\":\"'; rm -rf ~ `id` $HOME\"}\n"
        );
    }

    #[test]
    fn what_the_vendor_did_not_send_like_that_has_no_command() {
        assert_eq!(command(&kept(&[("ef.source", "ingest")]), "{}"), None);
        assert_eq!(
            command(&kept(&[("ef.source", "a"), ("ef.batch", "0")]), "{}"),
            None
        );
        assert_eq!(command(&kept(&[]), "{}"), None);
        let bare = command(&kept(&[("ef.source", "a")]), "{}").unwrap();
        assert!(bare.contains("-H 'content-type:'"), "{bare}");
    }
}

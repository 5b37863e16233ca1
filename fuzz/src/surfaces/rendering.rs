//! What the command line and the console show of a vendor's text.

use runtime::text;

fn is_harmless(printed: &str) -> bool {
    let moves = |character: char| {
        (character.is_control() && !matches!(character, '\n' | '\t'))
            || matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    !printed.contains(moves)
}

pub(super) fn run(data: &[u8]) {
    let given = String::from_utf8_lossy(data);
    let line = text::line(&given);
    assert!(
        is_harmless(&line) && !line.contains(['\n', '\t']),
        "{line:?}"
    );
    let lines = text::lines(&given);
    assert!(is_harmless(&lines), "{lines:?}");
    let pretty = text::pretty(&given);
    let is_json = serde_json::from_str::<serde::de::IgnoredAny>(&given).is_ok();
    if is_json {
        let strip = |json: &str| {
            let mut out = String::new();
            let mut rest = json;
            while let Some(first) = rest.chars().next() {
                let length = match first {
                    '"' => contracts::json::string_length(rest),
                    other => other.len_utf8(),
                };
                let (token, after) = rest.split_at(length);
                if !first.is_whitespace() {
                    out.push_str(token);
                }
                rest = after;
            }
            out
        };
        assert_eq!(
            strip(&pretty),
            strip(&given),
            "pretty JSON is the same JSON"
        );
        let shown = text::json(&pretty);
        let safe = !shown.contains(|c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t'));
        assert!(safe, "{shown:?}");
        // Letters may be written as escapes, and are the same letters.
        let values =
            [&*given, &shown].map(|json| serde_json::from_str::<serde_json::Value>(json).ok());
        if let [Some(one), Some(other)] = values {
            assert_eq!(one, other);
        }
    } else {
        assert_eq!(pretty, given);
    }
}

pub(super) fn examples() -> Vec<Vec<u8>> {
    let mut found = super::body::examples();
    found.extend([
        b"\x1b[31mred\x1b[0m \xe2\x80\xae txt \xef\xbb\xbf".to_vec(),
        "{\"a\":[1,{},[],\"\\u202e\u{202e}\"], \"b\" : 1e400}"
            .as_bytes()
            .to_vec(),
    ]);
    found
}

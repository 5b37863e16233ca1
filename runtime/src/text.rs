//! Text for people: nothing a vendor wrote may move a terminal's cursor, change a colour or the reading direction, in a terminal or in a browser.

use contracts::json::string_length;
use time::OffsetDateTime;

/// Whether a character does more than stand there: controls a terminal, is invisible, or changes the reading direction.
#[must_use]
pub fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Percent-encoded for a path or a query.
#[must_use]
pub fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
        out
    })
}

/// One line, with a replacement character for everything unsafe.
#[must_use]
pub fn line(text: &str) -> String {
    text.chars()
        .map(|character| {
            if matches!(character, '\n' | '\t') {
                ' '
            } else {
                visible(character)
            }
        })
        .collect()
}

/// The same over several lines.
#[must_use]
pub fn lines(text: &str) -> String {
    text.chars()
        .map(|character| {
            if matches!(character, '\n' | '\t') {
                character
            } else {
                visible(character)
            }
        })
        .collect()
}

fn visible(character: char) -> char {
    if is_unsafe(character) {
        char::REPLACEMENT_CHARACTER
    } else {
        character
    }
}

/// The same JSON, with what could reach a terminal written as escapes.
#[must_use]
pub fn json(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        if is_unsafe(character) && !matches!(character, '\n' | '\r' | '\t') {
            for unit in character.encode_utf16(&mut [0; 2]) {
                safe.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            safe.push(character);
        }
    }
    safe
}

/// JSON over several lines. Works on the text, so that no digit of an amount changes; what is not JSON stays as it is.
#[must_use]
pub fn pretty(text: &str) -> String {
    if serde_json::from_str::<serde::de::IgnoredAny>(text).is_err() {
        return text.to_owned();
    }
    let (mut out, mut depth, mut rest) = (String::new(), 0_usize, text);
    while let Some(character) = rest.chars().next() {
        let length = match character {
            '"' => string_length(rest),
            other => other.len_utf8(),
        };
        let (token, after) = rest.split_at(length);
        rest = after;
        match character {
            '"' => out.push_str(token),
            '{' | '[' => {
                out.push(character);
                rest = rest.trim_start();
                if let Some(end) = rest.chars().next().filter(|next| matches!(next, '}' | ']')) {
                    out.push(end);
                    rest = &rest[1..];
                } else {
                    depth += 1;
                    new_line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                new_line(&mut out, depth);
                out.push(character);
            }
            ',' => {
                out.push(character);
                new_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            white if white.is_whitespace() => {}
            other => out.push(other),
        }
    }
    out
}

fn new_line(out: &mut String, depth: usize) {
    out.push('\n');
    // Hostile nesting must not fill the screen with spaces.
    out.push_str(&"  ".repeat(depth.min(40)));
}

/// `3 h ago`.
#[must_use]
pub fn age(then: OffsetDateTime) -> String {
    age_at(then, OffsetDateTime::now_utc())
}

fn age_at(then: OffsetDateTime, now: OffsetDateTime) -> String {
    let seconds = (now - then).whole_seconds();
    if seconds < 0 {
        format!("in {}", span(seconds.unsigned_abs()))
    } else {
        format!("{} ago", span(seconds.unsigned_abs()))
    }
}

/// `3 h`.
#[must_use]
pub fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// `3 h ago (2026-11-21 10:00:00 UTC)`.
#[must_use]
pub fn when(then: OffsetDateTime) -> String {
    format!("{} ({})", age(then), moment(then))
}

/// `2026-11-21 10:00:00 UTC`.
#[must_use]
pub fn moment(then: OffsetDateTime) -> String {
    let then = then.to_offset(time::UtcOffset::UTC);
    let (date, hour, minute, second) = (then.date(), then.hour(), then.minute(), then.second());
    format!("{date} {hour:02}:{minute:02}:{second:02} UTC")
}

/// `1 dead letter`, `2 dead letters`.
#[must_use]
pub fn count(number: i64, what: &str) -> String {
    if number == 1 {
        format!("1 {what}")
    } else {
        format!("{number} {what}s")
    }
}

/// Appends a line, made safe.
pub fn put(out: &mut String, text: &str) {
    out.push_str(&line(text));
    out.push('\n');
}

/// Quoted for a shell.
#[must_use]
pub fn quoted(word: &str) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || "-_./:=".contains(character);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "a\u{1b}[2J\u{9b}31m\u{202e}b\u{7f}\u{200b}\u{e0041}\r\nc\0\u{8}";

    #[test]
    fn what_is_encoded_is_one_part_of_a_path() {
        assert_eq!(encoded("a/b?c \u{e9}~"), "a%2Fb%3Fc%20%C3%A9~");
    }

    #[test]
    fn nothing_of_a_vendor_moves_the_cursor() {
        for shown in [line(HOSTILE), lines(HOSTILE), json(HOSTILE)] {
            let left: Vec<char> = shown
                .chars()
                .filter(|character| is_unsafe(*character) && !"\n\r".contains(*character))
                .collect();
            assert!(left.is_empty(), "{left:?}");
        }
        assert!(!line(HOSTILE).contains('\n') && lines(HOSTILE).contains('\n'));
    }

    #[test]
    fn json_made_safe_is_the_same_json() {
        let value = serde_json::json!({"x": HOSTILE, "y": ["\u{9b}", 1]});
        let safe = json(&serde_json::to_string_pretty(&value).unwrap_or_default());
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&safe).ok(),
            Some(value)
        );
    }

    #[test]
    fn pretty_json_keeps_every_digit() {
        let shown = pretty(r#"{"a":12.50,"b":"x,{\"y\":1}\\","c":[],"d":[1 , 2]}"#);
        assert_eq!(
            shown,
            "{\n  \"a\": 12.50,\n  \"b\": \"x,{\\\"y\\\":1}\\\\\",\n  \"c\": [],\n  \"d\": [\n    1,\n    2\n  ]\n}"
        );
        assert_eq!(pretty("{not json"), "{not json");
    }

    #[test]
    fn an_age_is_one_number_and_one_unit() {
        let now = OffsetDateTime::UNIX_EPOCH + time::Duration::days(365);
        let ago = |seconds| age_at(now - time::Duration::seconds(seconds), now);
        assert_eq!(
            [ago(5), ago(180), ago(3 * 3600), ago(3 * 86_400), ago(-60)],
            ["5 s ago", "3 min ago", "3 h ago", "3 days ago", "in 60 s"]
        );
    }
}

//! Texts of strangers, fit to be shown.

/// Bounds a text and takes out what would drive a terminal or turn the reading direction. Markup stays as it is: whoever writes HTML
/// escapes it.
pub(crate) fn plain(text: &str, most: usize) -> String {
    let hidden = |character: char| {
        character.is_control()
            || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    let mut shown = String::with_capacity(text.len().min(most * 4));
    for (place, character) in text.chars().enumerate() {
        if place == most {
            shown.push('…');
            break;
        }
        shown.push(if hidden(character) {
            '\u{fffd}'
        } else {
            character
        });
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn escapes_and_direction_marks_are_taken_out_and_long_texts_end() {
        assert_eq!(
            plain("a\u{1b}[31mb\u{202e}c\u{0}\n", 100),
            "a\u{fffd}[31mb\u{fffd}c\u{fffd}\u{fffd}"
        );
        assert_eq!(plain("äöü€", 3), "äöü…");
        assert_eq!(plain("äöü", 3), "äöü");
    }
}

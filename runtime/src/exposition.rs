//! What `/metrics` says (the Prometheus text format), read: by recovery of the other roles, by the demo of its own process.

use std::borrow::Cow;

/// One sample: `name{label="value"} 12`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample<'t> {
    /// Name of its metric; of a histogram's with `_bucket`, `_sum` or `_count`
    pub name: &'t str,
    /// As written, between the braces
    labels: &'t str,
    /// A number, which may be infinite or none
    pub value: f64,
}

/// Every sample of a text, in its order. A line that is none is passed over: it may come from another version.
pub fn samples(text: &str) -> impl Iterator<Item = Sample<'_>> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(Sample::parse)
}

impl<'t> Sample<'t> {
    fn parse(line: &'t str) -> Option<Self> {
        let end = line.find(['{', ' '])?;
        let (name, rest) = line.split_at(end);
        let (labels, rest) = match rest.strip_prefix('{') {
            Some(inside) => {
                let (labels, rest) = inside.split_at(closing(inside)?);
                (labels, &rest[1..])
            }
            None => ("", rest),
        };
        let value = rest.split_ascii_whitespace().next()?.parse().ok()?;
        Some(Self {
            name,
            labels,
            value,
        })
    }

    /// The value of a label, where the sample has it.
    #[must_use]
    pub fn label(&self, wanted: &str) -> Option<Cow<'t, str>> {
        let mut rest = self.labels;
        while let Some((name, value)) = rest.split_once("=\"") {
            let end = quote(value)?;
            if name.trim_start_matches([',', ' ']) == wanted {
                return Some(unescaped(&value[..end]));
            }
            rest = &value[end + 1..];
        }
        None
    }
}

/// Where the braces end: a value may contain one.
fn closing(text: &str) -> Option<usize> {
    let mut at = 0;
    loop {
        let next = at + text[at..].find(['"', '}'])?;
        if text[next..].starts_with('}') {
            return Some(next);
        }
        at = next + 1;
        at += quote(&text[at..])? + 1;
    }
}

/// Where a value ends.
fn quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })
}

fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let (mut plain, mut characters) = (String::with_capacity(text.len()), text.chars());
    while let Some(character) = characters.next() {
        match (character, character == '\\') {
            (_, true) => match characters.next() {
                Some('n') => plain.push('\n'),
                other => plain.extend(other),
            },
            (other, false) => plain.push(other),
        }
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test")]
    use super::*;

    #[test]
    fn samples_have_names_labels_and_values() {
        let text = "# HELP a_total what\n# TYPE a_total counter\na_total{stage=\"x\",code=\"p}\\\"\\\\\"} 3\nb 1.5e3 1700000000\n\
                    c_bucket{le=\"+Inf\"} +Inf\nd{e=\"f\"\n\ng\nh{} 7\n";
        let found: Vec<Sample<'_>> = samples(text).collect();
        let values: Vec<(&str, f64)> = found.iter().map(|it| (it.name, it.value)).collect();
        assert_eq!(
            values,
            [
                ("a_total", 3.0),
                ("b", 1500.0),
                ("c_bucket", f64::INFINITY),
                ("h", 7.0)
            ]
        );
        let labels = ["stage", "code", "le"].map(|name| found[0].label(name));
        assert_eq!(labels[0].as_deref(), Some("x"));
        assert_eq!(labels[1].as_deref(), Some("p}\"\\"));
        assert_eq!(labels[2], None);
        assert_eq!(found[2].label("le").as_deref(), Some("+Inf"));
    }

    #[test]
    fn what_this_process_counts_is_read_as_it_was_counted() {
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        let hostile = "a\"b\\c\nd}e,f=\"g";
        metrics::with_local_recorder(&recorder, || {
            metrics::counter!("x_total", "source" => hostile, "code" => "y").increment(5);
        });
        let text = recorder.handle().render();
        let found: Vec<Sample<'_>> = samples(&text).collect();
        assert_eq!((found.len(), found[0].value), (1, 5.0), "{text}");
        assert_eq!(found[0].label("source").unwrap(), hostile);
        assert_eq!(found[0].label("code").unwrap(), "y");
    }
}

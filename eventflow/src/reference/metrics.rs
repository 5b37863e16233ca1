//! Every metric with its kind and help text.

use super::{code, page, source, table};
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

/// Remembers what is described: kind and help text by name.
#[derive(Default)]
struct Described(Mutex<BTreeMap<String, (&'static str, String)>>);

impl Described {
    fn note(&self, kind: &'static str, name: &KeyName, help: &SharedString) {
        let name = name.as_str();
        let before = self
            .0
            .lock()
            .unwrap()
            .insert(name.to_owned(), (kind, help.to_string()));
        assert_eq!(before, None, "{name} is described twice");
    }
}

impl Recorder for Described {
    fn describe_counter(&self, name: KeyName, _: Option<Unit>, help: SharedString) {
        let text = name.as_str();
        assert!(
            text.ends_with("_total"),
            "a counter's name ends in _total: {text}"
        );
        self.note("counter", &name, &help);
    }

    fn describe_gauge(&self, name: KeyName, _: Option<Unit>, help: SharedString) {
        self.note("gauge", &name, &help);
    }

    fn describe_histogram(&self, name: KeyName, _: Option<Unit>, help: SharedString) {
        self.note("histogram", &name, &help);
    }

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[test]
fn metrics_page_has_every_metric_the_code_names_with_its_help_text() {
    let roles: [(&str, fn()); 8] = [
        ("Every role", runtime::metrics::describe),
        ("Producer", producer::metrics::describe),
        ("Validator", validator::metrics::describe),
        ("Analytics", analytics::metrics::describe),
        ("Persistence", persistence::metrics::describe),
        ("Recovery", recovery::metrics::describe),
        ("Simulator", simulator::metrics::describe),
        ("Registry", registry::metrics::describe),
    ];
    let (mut known, mut text) = (
        BTreeSet::new(),
        String::from(
            "Each role serves its metrics at `/metrics` of `--ops-listen`, in the Prometheus text format. Names have base units; labels come \
         from closed sets. Alerts on them: [ALERTS.md](../ALERTS.md).\n",
        ),
    );
    for (role, describe) in roles {
        let described = Described::default();
        metrics::with_local_recorder(&described, describe);
        let described = described.0.into_inner().unwrap();
        text += &format!("\n## {role}\n\n");
        text += &table(
            &["metric", "kind", "meaning"],
            described
                .iter()
                .map(|(name, (kind, help))| vec![code(name), (*kind).to_owned(), help.clone()]),
        );
        for name in described.into_keys() {
            assert!(known.insert(name.clone()), "{name} is described twice");
        }
    }
    // Every name in the code is described: none is counted without a help text.
    let mut named = BTreeSet::new();
    for (_, text) in source::files() {
        let names = text
            .split('"')
            .filter(|text| text.starts_with("eventflow_") && !text.contains(char::is_whitespace));
        named.extend(names.map(str::to_owned));
    }
    assert_eq!(named, known);
    page("metrics.md", "Metrics", &text);
}

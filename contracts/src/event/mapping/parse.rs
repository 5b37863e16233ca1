//! `[source.event]`, read.

use super::pattern::{Pattern, UnknownTypes};
use super::places::Places;
use super::{Mapping, Template, Time, TimeUnit};
use crate::event::Locator;
use crate::event::locator::{Pointer, parse_pointer};
use std::sync::LazyLock;
use toml::{Table, Value};

/// EventFlow's own envelope.
const OWN: &str = r#"
    id = "/event_id"
    type = "/event_type"
    time = "/timestamp"
    payload = "/payload"
    version = "/schema_version"
    contract = "{type}"
    unknown = "dead-letter"
"#;
/// What a preset need not say.
const PRESET: &str = r#"
    contract = "{type}"
    unknown = "store"
"#;
/// The keys without which a source has no mapping of its own.
const PLACES: [&str; 4] = ["id", "type", "time", "payload"];
const KEYS: &str = "id, type, time, entity, payload, version, contract, unknown, filter";
const UNITS: &str = "\"rfc3339\", \"unix-seconds\" or \"unix-millis\"";

impl Mapping {
    /// The mapping of events in EventFlow's own envelope.
    #[must_use]
    pub fn own() -> &'static Self {
        static MAPPING: LazyLock<Mapping> = LazyLock::new(|| {
            Mapping::parse(Table::new(), None)
                .unwrap_or_else(|problem| panic!("the built-in mapping: {problem}"))
        });
        &MAPPING
    }

    /// The keys of a source's table, with those of its preset and the defaults where it has none of its own.
    ///
    /// # Errors
    /// The defaults cannot be read, which a test rules out.
    pub(crate) fn keys(table: Table, preset: Option<&Table>) -> Result<Table, String> {
        let base = if preset.is_some() { PRESET } else { OWN };
        let mut all: Table = toml::from_str(base).map_err(|error| error.message().to_owned())?;
        let preset = preset.into_iter().flatten();
        all.extend(preset.map(|(key, value)| (key.clone(), value.clone())));
        all.extend(table);
        Ok(all)
    }

    /// Compiles the table of a source. Each key replaces that of the source's preset; without a preset, that of EventFlow's own envelope.
    ///
    /// # Errors
    /// The key, and what is wrong with it.
    pub(crate) fn parse(table: Table, preset: Option<&Table>) -> Result<Self, String> {
        let is_given = preset.is_some() || PLACES.iter().any(|key| table.contains_key(*key));
        let mut all = Self::keys(table, preset)?;
        let locator = |all: &mut Table, key: &str| match all.remove(key) {
            Some(value) => Locator::parse(&value).map_err(|problem| format!("{key}: {problem}")),
            None => Ok(Locator::default()),
        };
        let (mut id, mut event_type) = (locator(&mut all, "id")?, locator(&mut all, "type")?);
        for (key, found) in [("id", &id), ("type", &event_type)] {
            if found.is_empty() {
                return Err(format!("{key}: say where it is: every event has one"));
            }
        }
        let (mut entity, mut version) =
            (locator(&mut all, "entity")?, locator(&mut all, "version")?);
        let of_key = |key: &'static str| move |problem: String| format!("{key}: {problem}");
        let mut time = parse_times(all.remove("time").as_ref()).map_err(of_key("time"))?;
        let (payload_at, mut payload) =
            parse_payload(all.remove("payload").as_ref()).map_err(of_key("payload"))?;
        let contract =
            parse_template(all.remove("contract").as_ref()).map_err(of_key("contract"))?;
        let unknown = match all.remove("unknown") {
            Some(value) => UnknownTypes::parse(&value).map_err(of_key("unknown"))?,
            None => return Err("unknown: is missing".to_owned()),
        };
        let filter = parse_filter(all.remove("filter").as_ref()).map_err(of_key("filter"))?;
        if let Some(key) = all.keys().next() {
            return Err(format!("unknown key {key:?}; known are {KEYS}"));
        }
        let (mut places, mut problem) = (Places::default(), None);
        let mut add = |pointer: &mut Pointer| {
            if let Err(full) = places.add(pointer) {
                problem.get_or_insert(full);
            }
        };
        for found in [&mut id, &mut event_type, &mut entity, &mut version] {
            found.each_pointer(&mut add);
        }
        for one in &mut time {
            if let Time::At { place, .. } = one {
                place.each_pointer(&mut add);
            }
        }
        payload.iter_mut().for_each(&mut add);
        match problem {
            Some(problem) => Err(problem),
            None => Ok(Self {
                is_given,
                id,
                entity,
                event_type,
                time,
                version,
                payload,
                payload_at,
                contract,
                unknown,
                filter,
                places,
            }),
        }
    }
}

fn parse_times(value: Option<&Value>) -> Result<Vec<Time>, String> {
    let times = match value {
        Some(Value::Array(several)) => several.iter().map(parse_time).collect::<Result<_, _>>()?,
        Some(one) => vec![parse_time(one)?],
        None => Vec::new(),
    };
    if times.is_empty() {
        return Err("say where it is, or \"received\": every event has one".to_owned());
    }
    Ok(times)
}

fn parse_time(value: &Value) -> Result<Time, String> {
    let at = |place: &Value, unit| {
        let place = Locator::parse(place)?;
        Ok(Time::At { place, unit })
    };
    match value {
        Value::String(received) if received == "received" => Ok(Time::Received),
        Value::Table(table) if table.contains_key("as") => {
            let unit = match table["as"].as_str() {
                Some("rfc3339") => TimeUnit::Rfc3339,
                Some("unix-seconds") => TimeUnit::Unix { per_second: 1 },
                Some("unix-millis") => TimeUnit::Unix { per_second: 1000 },
                Some(_) | None => return Err(format!("as: is {UNITS}")),
            };
            let mut place = table.clone();
            place.remove("as");
            match (place.len(), place.get("from")) {
                (1, Some(from)) => at(from, unit),
                _ => at(&Value::Table(place), unit),
            }
        }
        place => at(place, TimeUnit::Rfc3339),
    }
}

fn parse_payload(value: Option<&Value>) -> Result<(String, Option<Pointer>), String> {
    let Some(pointer) = value.and_then(Value::as_str) else {
        return Err("write a JSON pointer, or \"\" for the whole body".to_owned());
    };
    let path = parse_pointer(pointer)?;
    let place = (!path.is_empty()).then_some(Pointer { path, slot: 0 });
    Ok((pointer.to_owned(), place))
}

fn parse_template(value: Option<&Value>) -> Result<Template, String> {
    let text = value.and_then(Value::as_str).unwrap_or_default();
    let parts: Vec<String> = text.split("{type}").map(str::to_owned).collect();
    if text.is_empty() || parts.iter().any(|part| part.contains(['{', '}'])) {
        return Err("write the name of a contract, with {type} for the event type".to_owned());
    }
    Ok(Template(parts))
}

fn parse_filter(value: Option<&Value>) -> Result<Vec<Pattern>, String> {
    let patterns = match value {
        None => return Ok(Vec::new()),
        Some(Value::Array(patterns)) => patterns,
        Some(_) => return Err("write a list of event types".to_owned()),
    };
    let parse = |pattern: &Value| match pattern.as_str() {
        Some(text) => Pattern::parse(text),
        None => Err("write a list of event types".to_owned()),
    };
    patterns.iter().map(parse).collect()
}

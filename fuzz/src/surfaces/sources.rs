//! `sources.toml`.

use crate::examples::files;
use contracts::event::Mappings;
use contracts::webhook::preset;
use contracts::webhook::source::Sources;

pub(super) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let described = Sources::described(text);
    if let Err(error) = &described {
        assert!(!error.to_string().is_empty(), "an error says what is wrong");
    }
    // The validator reads less of the file than the edge: what the edge takes, it takes too.
    if let (Ok(sources), mappings) = (&described, Mappings::from_toml(text)) {
        let mappings = mappings.unwrap_or_else(|error| panic!("only the edge takes it: {error}"));
        for source in sources.iter() {
            assert!(mappings.get(&source.name).is_some(), "{}", source.name);
        }
    }
}

pub(super) fn examples() -> Vec<Vec<u8>> {
    let of_preset = |name: &&str| {
        format!(
            "[[source]]\nname = \"a\"\npreset = \"{name}\"\npublic_url = \"https://a.example/\"\nsecrets = [{{ id = \"k\", from = \"env:K\" }}]\n"
        )
    };
    let names = preset::names();
    let whole = files("sources", ".toml")
        .into_iter()
        .filter_map(|(_, text)| {
            let text = String::from_utf8(text).ok()?;
            Some(format!(
                "[[source]]\nname = \"a\"\npreset = \"eventflow\"\n{text}"
            ))
        });
    names
        .iter()
        .map(of_preset)
        .chain(whole)
        .map(String::into_bytes)
        .collect()
}

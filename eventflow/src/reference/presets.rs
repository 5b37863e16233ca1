//! Every preset: who the vendor is, how and what it signs, and where that is written.

use super::{code, page, table};
use contracts::webhook::preset;
use contracts::webhook::scheme::Scheme;

/// The vendor's schedule, with its page; in brackets where the vendor states none.
fn resends_of(name: &str) -> String {
    let resends = preset::resends(name);
    match &resends.rule {
        Some(rule) => format!("[{}]({rule})", resends.words()),
        None => format!("({})", resends.words()),
    }
}

#[test]
fn presets_page_has_every_vendor_and_the_pages_that_its_preset_follows() {
    let mut text = String::from(
        "`preset = \"NAME\"` of a source brings what the vendor fixed. How to use one, and how to add one: [EXTEND.md](../EXTEND.md#add-a-vendor). The \
         files are in `contracts/sources`. \"Signed\" is the text under the signature; what is not in it may have been written by anybody. \
         \"Sends again\" is what the simulator does; in brackets where the vendor states no schedule.\n\n",
    );
    text += &table(
        &[
            "preset",
            "vendor",
            "proof",
            "signed",
            "time window",
            "the secret is",
            "sends again after",
            "rules",
        ],
        preset::names().into_iter().map(|name| {
            let about = preset::about(name).unwrap();
            let scheme = Scheme::preset(name).unwrap();
            let links = about.rules.iter().enumerate();
            let links: Vec<_> = links
                .map(|(number, url)| format!("[{}]({url})", number + 1))
                .collect();
            vec![
                code(name),
                about.vendor,
                scheme.proof(),
                scheme
                    .signed()
                    .map_or_else(|| "nothing".to_owned(), |signed| code(&signed)),
                scheme.window(),
                about.secret,
                resends_of(name),
                links.join(" "),
            ]
        }),
    );
    text += "\n## Notes\n\n";
    for name in preset::names() {
        if let Some(note) = preset::about(name).and_then(|about| about.note) {
            text += &format!("- {}: {note}.\n", code(name));
        }
    }
    page("presets.md", "Presets", &text);
}

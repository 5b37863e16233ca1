//! What the pages of the packs say to type offline, typed.

use contracts::pack;
use std::process::Command;

#[test]
fn the_pages_of_the_packs_are_true_as_typed() {
    for name in pack::names() {
        let page = pack::named(name).unwrap().readme;
        let (_, commands) = page.split_once("```sh\n").unwrap();
        let (commands, _) = commands.split_once("```").unwrap();
        assert!(commands.contains("eventflow sources try"), "{commands}");
        // The shell that a reader has, with the program under its name.
        let output = Command::new("bash")
            .args([
                "-euc",
                &format!("eventflow() {{ \"$PROGRAM\" \"$@\"; }}\n{commands}"),
            ])
            .env("PROGRAM", env!("CARGO_BIN_EXE_eventflow"))
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8(text).unwrap();
        assert!(
            output.status.success() && text.contains("fate    stored, by the contract"),
            "{name}: {text}"
        );
    }
}

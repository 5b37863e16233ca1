//! libFuzzer at one surface, which `EVENTFLOW_FUZZ` names. Run by `script/fuzz`.
//!
//! With `EVENTFLOW_FUZZ_EXAMPLES=<folder>` it writes the examples of the surface there, and ends.
#![no_main]
#![allow(unsafe_code, reason = "what fuzz_target! makes of its function")]

use fuzz::{SURFACES, Surface};
use std::path::PathBuf;
use std::sync::LazyLock;

static SURFACE: LazyLock<&Surface> = LazyLock::new(|| {
    let wanted = std::env::var("EVENTFLOW_FUZZ").unwrap_or_default();
    let names: Vec<&str> = SURFACES.iter().map(|surface| surface.name).collect();
    SURFACES
        .iter()
        .find(|surface| surface.name == wanted)
        .unwrap_or_else(|| {
            panic!(
                "EVENTFLOW_FUZZ: {wanted:?} must be one of {}",
                names.join(", ")
            )
        })
});

libfuzzer_sys::fuzz_target!(
    init: {
        if let Some(folder) = std::env::var_os("EVENTFLOW_FUZZ_EXAMPLES").map(PathBuf::from) {
            for (number, example) in (SURFACE.examples)().into_iter().enumerate() {
                let written = std::fs::write(folder.join(format!("example-{number}")), example);
                written.unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
            }
            std::process::exit(0);
        }
    },
    |data: &[u8]| (SURFACE.run)(data)
);

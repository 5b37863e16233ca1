//! Every surface with its examples, and with mutations of them. `script/fuzz` looks longer and better.

#![allow(clippy::unwrap_used, reason = "a test")]

use fuzz::{SURFACES, Surface};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// Mutations of the examples, for each surface.
const CASES: u32 = 20_000;

/// What becomes of an example at a place.
#[derive(Debug, Clone)]
enum Mutation {
    Flip(u8),
    Cut(usize),
    Double(usize),
    Insert(&'static str),
    Splice(prop::sample::Index),
}

fn mutation() -> impl Strategy<Value = (prop::sample::Index, Mutation)> {
    let words = vec![
        "\"",
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "null",
        "-",
        "1e400",
        "\\u0000",
        "\\ud800",
        "\n",
        "\0",
        "\u{202e}",
        "\u{e000}",
        "=",
        "99999999999999999999",
    ];
    let mutation = prop_oneof![
        3 => any::<u8>().prop_map(Mutation::Flip),
        2 => (1_usize..20).prop_map(Mutation::Cut),
        1 => (1_usize..20).prop_map(Mutation::Double),
        3 => prop::sample::select(words).prop_map(Mutation::Insert),
        1 => any::<prop::sample::Index>().prop_map(Mutation::Splice),
    ];
    (any::<prop::sample::Index>(), mutation)
}

fn mutate(
    examples: &[Vec<u8>],
    which: usize,
    mutations: Vec<(prop::sample::Index, Mutation)>,
) -> Vec<u8> {
    let mut data = examples[which].clone();
    for (place, mutation) in mutations {
        let at = place.index(data.len() + 1);
        let until = |length: usize| (at + length).min(data.len());
        match mutation {
            Mutation::Flip(bits) => {
                if let Some(byte) = data.get_mut(at) {
                    *byte ^= bits;
                }
            }
            Mutation::Cut(length) => drop(data.drain(at..until(length))),
            Mutation::Double(length) => {
                let part = data[at..until(length)].to_vec();
                data.splice(at..at, part);
            }
            Mutation::Insert(word) => drop(data.splice(at..at, word.bytes())),
            Mutation::Splice(other) => {
                let other = &examples[other.index(examples.len())];
                data.truncate(at);
                data.extend_from_slice(&other[place.index(other.len() + 1)..]);
            }
        }
    }
    data
}

fn try_out(surface: &Surface) {
    let examples = (surface.examples)();
    assert!(!examples.is_empty(), "{} has examples", surface.name);
    examples.iter().for_each(|example| (surface.run)(example));
    let count = examples.len();
    let input = (0..count, prop::collection::vec(mutation(), 1..8))
        .prop_map(move |(which, mutations)| mutate(&examples, which, mutations));
    let config = Config {
        cases: CASES,
        failure_persistence: None,
        ..Config::default()
    };
    let run = TestRunner::new(config).run(&input, |data| {
        (surface.run)(&data);
        Ok(())
    });
    run.unwrap_or_else(|error| panic!("{}: {error}", surface.name));
}

macro_rules! surfaces {
    ($($name:ident),+) => {
        $(#[test] fn $name() {
            try_out(SURFACES.iter().find(|surface| surface.name == stringify!($name)).unwrap());
        })+

        #[test]
        fn every_surface_has_a_test() {
            let names: Vec<&str> = SURFACES.iter().map(|surface| surface.name).collect();
            assert_eq!(names, [$(stringify!($name)),+]);
        }
    };
}

surfaces!(
    signature,
    sources,
    mapping,
    body,
    avro,
    dead_letter,
    patch,
    rendering
);

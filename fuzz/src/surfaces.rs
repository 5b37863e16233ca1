//! The surfaces.

mod avro;
mod body;
mod dead_letter;
mod mapping;
mod patch;
mod rendering;
mod signature;
mod sources;

/// Something that reads bytes of strangers.
#[derive(Debug, Clone, Copy)]
pub struct Surface {
    /// As `script/fuzz` names it
    pub name: &'static str,
    /// What must hold for any bytes, beside that nothing panics
    pub holds: &'static str,
    /// Bytes to begin with
    pub examples: fn() -> Vec<Vec<u8>>,
    /// Panics when it does not hold
    pub run: fn(&[u8]),
}

/// All of them, along the path of an event.
pub const SURFACES: &[Surface] = &[
    Surface {
        name: "signature",
        holds: "a request that nobody signed is refused, and what is refused by the shape of its headers is refused with its body, too",
        examples: signature::examples,
        run: signature::run,
    },
    Surface {
        name: "sources",
        holds: "a sources file is taken or refused with a sentence, and the edge and the validator agree which",
        examples: sources::examples,
        run: sources::run,
    },
    Surface {
        name: "mapping",
        holds: "an envelope is found or refused, the same each time, and its payload is JSON",
        examples: mapping::examples,
        run: mapping::run,
    },
    Surface {
        name: "body",
        holds: "a body is validated or rejected, and what is validated is read back from its Avro with the same id, type, time and amount",
        examples: body::examples,
        run: body::run,
    },
    Surface {
        name: "avro",
        holds: "a datum is read or refused, and what is read is JSON",
        examples: avro::examples,
        run: avro::run,
    },
    Surface {
        name: "dead_letter",
        holds: "any headers are read, with positions that make sense",
        examples: dead_letter::examples,
        run: dead_letter::run,
    },
    Surface {
        name: "patch",
        holds: "a document without a change is written with the same digits, and a patched one can be read again",
        examples: patch::examples,
        run: patch::run,
    },
    Surface {
        name: "rendering",
        holds: "nothing that is printed moves a cursor, and pretty JSON is the same JSON",
        examples: rendering::examples,
        run: rendering::run,
    },
];

/// Headers as lines, an empty line, then the body.
pub(crate) fn request(data: &[u8]) -> (Vec<(String, Vec<u8>)>, &[u8]) {
    let mut rest = data;
    let mut headers = Vec::new();
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let (line, after) = (&rest[..end], &rest[end + 1..]);
        rest = after;
        if line.is_empty() {
            break;
        }
        if let Some(colon) = line.iter().position(|byte| *byte == b':') {
            let name = String::from_utf8_lossy(&line[..colon]).to_ascii_lowercase();
            headers.push((name, line[colon + 1..].trim_ascii().to_vec()));
        }
    }
    (headers, rest)
}

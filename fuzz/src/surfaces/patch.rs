//! A JSON Patch on the value of a dead letter: a patch on the first line, the document behind it.

use crate::examples::files;

#[allow(
    dead_code,
    reason = "recovery's own file: whoever patches has no other way to numbers"
)]
#[path = "../../../recovery/src/replay/edit/exact_json.rs"]
mod exact;

pub(super) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let (patch, document) = text.split_once('\n').unwrap_or(("[]", text));
    let Ok(read) = exact::read(document) else {
        return;
    };
    let written = exact::write(&read);
    assert_eq!(
        exact::read(&written).ok().as_ref(),
        Some(&read),
        "{written}"
    );
    let Ok(marked) = exact::read(patch) else {
        return;
    };
    let Ok(patch) = serde_json::from_value::<json_patch::Patch>(marked) else {
        return;
    };
    // As recovery bounds it: each copy may double the document.
    if patch.len() > 8 {
        return;
    }
    let mut patched = read;
    if json_patch::patch(&mut patched, &patch).is_ok() {
        let written = exact::write(&patched);
        assert_eq!(exact::read(&written).ok(), Some(patched), "{written}");
    }
}

pub(super) fn examples() -> Vec<Vec<u8>> {
    let patches = [
        r#"[{"op":"replace","path":"/payload/currency","value":"EUR"}]"#,
        r#"[{"op":"add","path":"/payload/amount","value":1234567890123456789.10}]"#,
        r#"[{"op":"copy","from":"/payload","path":"/payload/a"},{"op":"remove","path":"/event_id"}]"#,
        r#"[{"op":"test","path":"/event_type","value":"payment.authorized"},{"op":"move","from":"/timestamp","path":"/payload/time"}]"#,
    ];
    let bodies = files("events/payment.authorized", ".json").into_iter();
    let bodies = bodies.filter(|(_, body)| std::str::from_utf8(body).is_ok());
    let with = |(index, (_, body)): (usize, (_, Vec<u8>))| {
        let mut data = patches[index % patches.len()].as_bytes().to_vec();
        data.push(b'\n');
        data.extend(body);
        data
    };
    bodies.enumerate().map(with).collect()
}

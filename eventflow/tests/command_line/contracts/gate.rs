//! `eventflow contracts check --against`, as a gate of pull requests.

use super::{V1, World, findings};
use std::path::Path;

/// Checks with published contracts: a git ref, and a directory.
fn gate(change: impl Fn(&World), level: &str) -> Vec<[String; 4]> {
    let world = World::new();
    world.version(1, V1);
    world.publish();
    world.git(&["worktree", "add", "-q", "published", "origin/main"]);
    change(&world);
    let check = |against: &str| {
        let (code, told) = world.run(&[
            "contracts",
            "check",
            "c",
            "--json",
            "--compatibility",
            level,
            "--against",
            against,
        ]);
        let found = findings(&told);
        assert_eq!(code, Some(i32::from(!found.is_empty())), "{told}");
        found
    };
    let found = check("origin/main");
    assert_eq!(
        found,
        check("published/c"),
        "a commit and a directory are judged alike"
    );
    found
}

#[test]
fn a_published_version_may_not_change_or_go_and_a_new_one_must_fit() {
    let finding = |code: &str, version: u32, file: &str, pointer: &str| {
        [code, &format!("order.placed/v{version}"), file, pointer].map(str::to_owned)
    };
    let required = V1.replace(r#"["order_id"]"#, r#"["order_id","count"]"#);
    let optional = V1.replace(r#""required":["order_id"],"#, "");
    assert_eq!(gate(|_| (), "full"), [[""; 4]; 0]);
    assert_eq!(
        gate(
            |world| world.version(
                1,
                &V1.replace(r#"{"type":"object""#, r#"{"title":"T","type":"object""#)
            ),
            "full"
        ),
        [[""; 4]; 0]
    );
    assert_eq!(
        gate(|world| world.version(1, &required), "none"),
        [
            finding("changed_in_place", 1, "schema.json", "/count"),
            finding("changed_in_place", 1, "record.avsc", "/payload/count"),
        ]
    );
    assert_eq!(
        gate(
            |world| world.write("c/order.placed/v1/schema-id", "2009"),
            "none"
        ),
        [finding("changed_in_place", 1, "schema-id", "")]
    );
    // No role would start with it, whatever is asked.
    let unreadable = [finding("incompatible", 2, "record.avsc", "/payload/count")];
    assert_eq!(
        gate(|world| world.version(2, &required), "forward"),
        unreadable
    );
    assert_eq!(
        gate(|world| world.version(2, &required), "none"),
        unreadable
    );
    let narrower = V1.replace(r#""integer""#, r#""integer","minimum":1"#);
    assert_eq!(
        gate(|world| world.version(2, &narrower), "forward"),
        [[""; 4]; 0]
    );
    assert_eq!(
        gate(|world| world.version(2, &narrower), "backward"),
        [finding("incompatible", 2, "schema.json", "/count")]
    );
    assert_eq!(
        gate(|world| world.version(2, &optional), "full"),
        [
            finding("incompatible", 2, "schema.json", "/order_id"),
            finding("incompatible", 2, "record.avsc", "/payload/order_id"),
        ]
    );
    assert_eq!(
        gate(|world| world.version(2, &optional), "backward"),
        [[""; 4]; 0]
    );
    let moved = |world: &World| {
        std::fs::rename(
            world.path("c/order.placed/v1"),
            world.path("c/order.placed/v2"),
        )
        .unwrap();
        world.write("c/order.placed/v2/schema-id", "2002");
    };
    assert_eq!(gate(moved, "full"), [finding("version_removed", 1, "", "")]);

    let world = World::new();
    world.version(1, V1);
    world.publish();
    moved(&world);
    let (code, told) = world.run(&[
        "contracts",
        "check",
        "c",
        "--against",
        "HEAD",
        "--removed",
        "order.placed/v1",
    ]);
    assert_eq!(code, Some(0), "{told}");
    let (code, told) = world.run(&["contracts", "check", "c", "--against", "origin/nothing"]);
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("no such git ref"), "{told}");
}

/// A registry over a directory of contracts, until it is dropped.
struct Served {
    _runtime: tokio::runtime::Runtime,
    url: String,
}

impl Served {
    fn start(directory: &Path) -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
            .unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let contracts = runtime::files::load_contracts(Some(directory)).unwrap();
        let subjects = registry::subjects(&contracts, contracts::kafka::topics::VALIDATED).unwrap();
        runtime.spawn(async move { axum::serve(listener, registry::app(subjects)).await });
        Self {
            _runtime: runtime,
            url,
        }
    }
}

#[test]
fn a_running_registry_says_what_is_published() {
    let world = World::new();
    world.version(1, V1);
    let registry = Served::start(&world.path("c"));
    let check = |more: &[&str]| {
        let with_login = registry
            .url
            .replace("http://", "http://user:LEAKED-password@");
        let (code, told) = world.run(
            &[
                &[
                    "contracts",
                    "check",
                    "c",
                    "--json",
                    "--against",
                    &with_login,
                ],
                more,
            ]
            .concat(),
        );
        assert!(!told.contains("LEAKED"), "{told}");
        assert_eq!(code, Some(i32::from(!findings(&told).is_empty())), "{told}");
        findings(&told)
    };
    let finding = |code: &str, version: u32, pointer: &str| {
        [
            code,
            &format!("order.placed/v{version}"),
            "record.avsc",
            pointer,
        ]
        .map(str::to_owned)
    };
    assert_eq!(check(&["--compatibility", "full"]), [[""; 4]; 0]);
    // Its rules are not in a registry: only what changes the record is seen.
    let text = V1.replace(r#""integer""#, r#""string""#);
    world.version(2, &text);
    world.write(
        "c/order.placed/v2/examples/valid/plain.json",
        r#"{"order_id":"o","count":"1"}"#,
    );
    let found = check(&[]);
    assert!(
        found.contains(&finding("incompatible", 2, "/payload/count")),
        "{found:?}"
    );
    std::fs::remove_dir_all(world.path("c/order.placed/v2")).unwrap();
    world.version(
        1,
        &V1.replace(
            r#""count":{"type":"integer"}"#,
            r#""count":{"type":"integer"},"note":{"type":"string"}"#,
        ),
    );
    assert_eq!(check(&[]), [finding("changed_in_place", 1, "")]);
    drop(registry);
    let (code, told) = world.run(&[
        "contracts",
        "check",
        "c",
        "--against",
        "http://user:LEAKED-password@127.0.0.1:1",
    ]);
    assert_eq!(code, Some(1), "{told}");
    assert!(
        told.contains("no answer from the registry") && !told.contains("LEAKED"),
        "{told}"
    );
}

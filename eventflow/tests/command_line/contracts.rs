//! `eventflow contracts`, as a person uses it who adds an event type.

mod gate;

use crate::eventflow;
use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, Stdio};

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../contracts/sources");

/// A folder of contracts that lives as long as the test.
struct World {
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn text(&self, path: &str) -> String {
        std::fs::read_to_string(self.path(path)).unwrap()
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// One version of `order.placed`.
    fn version(&self, number: u32, schema: &str) {
        let folder = format!("c/order.placed/v{number}");
        self.write(&format!("{folder}/schema.json"), schema);
        self.write(&format!("{folder}/schema-id"), &(2000 + number).to_string());
        self.write(
            &format!("{folder}/examples/valid/plain.json"),
            r#"{"order_id":"o","count":1}"#,
        );
    }

    /// In the folder, with its relative paths.
    fn run(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_eventflow"))
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        (output.status.code(), text.concat())
    }

    fn git(&self, arguments: &[&str]) {
        let output = Command::new("git")
            .args([
                "-c",
                "user.name=t",
                "-c",
                "user.email=t@example.com",
                "-c",
                "init.defaultBranch=main",
            ])
            .args(arguments)
            .current_dir(self.folder.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    /// What is there is published as origin/main.
    fn publish(&self) {
        self.git(&["init", "-q"]);
        self.git(&["add", "."]);
        self.git(&["commit", "-q", "-m", "contracts"]);
        self.git(&["update-ref", "refs/remotes/origin/main", "HEAD"]);
    }
}

const V1: &str = r#"{"type":"object","required":["order_id"],"properties":{"order_id":{"type":"string"},"count":{"type":"integer"}}}"#;

/// Code, contract, file and pointer of every finding.
fn findings(json: &str) -> Vec<[String; 4]> {
    let report: Value = serde_json::from_str(json.split("\neventflow: ").next().unwrap()).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let found = report["findings"].as_array().unwrap().iter();
    found
        .map(|one| ["code", "contract", "file", "pointer"].map(|member| text(&one[member])))
        .collect()
}

#[test]
fn a_contract_from_samples_passes_its_check_and_takes_the_sample() {
    let world = World::new();
    let sample = std::fs::read_to_string(format!("{EXAMPLES}/stripe/body.json")).unwrap();
    world.write("one.json", &sample);
    world.write(
        "two.json",
        &sample
            .replace(r#""customer":"cus_EXAMPLE1","#, "")
            .replace("4990", "100"),
    );
    let arguments = [
        "contracts",
        "new",
        "--source",
        "stripe",
        "--contracts",
        "c",
        "--from",
        "one.json",
        "two.json",
    ];
    let (code, told) = world.run(&arguments);
    assert_eq!(code, Some(0), "{told}");
    assert!(
        told.contains("eventflow contracts check c")
            && told.contains("/properties/amount: TODO: money?"),
        "{told}"
    );
    let schema: Value =
        serde_json::from_str(&world.text("c/stripe.charge.refunded/v1/schema.json")).unwrap();
    let required = schema["required"].as_array().unwrap();
    assert!(
        required.contains(&"id".into()) && !required.contains(&"customer".into()),
        "{schema}"
    );
    assert_eq!(
        world.text("c/stripe.charge.refunded/v1/schema-id"),
        "1000\n"
    );
    let (code, told) = world.run(&["contracts", "check", "c"]);
    assert_eq!(code, Some(0), "{told}");
    assert!(
        told.contains("2 valid, 1 invalid") && told.contains("0 errors"),
        "{told}"
    );

    // The validator's own rules store the sample by it.
    world.write(
        "sources.toml",
        "[[source]]\nname = \"stripe\"\npreset = \"stripe\"\nsecrets = [{ id = \"k\", from = \"env:S\" }]\n",
    );
    let (code, told) = world.run(&[
        "sources",
        "try",
        "--sources",
        "sources.toml",
        "--source",
        "stripe",
        "--contracts",
        "c",
        "one.json",
    ]);
    assert_eq!(code, Some(0), "{told}");
    assert!(
        told.contains("stored, by the contract stripe.charge.refunded, version 1"),
        "{told}"
    );

    // Never twice, unless it is asked for; a second version has an id of its own, and says what it breaks.
    let (code, told) = world.run(&arguments);
    assert_eq!(code, Some(1), "{told}");
    assert!(
        told.contains("--version 2") && told.contains("--force"),
        "{told}"
    );
    let (code, told) = world.run(&[&arguments[..], &["--force"]].concat());
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(
        world.text("c/stripe.charge.refunded/v1/schema-id"),
        "1000\n"
    );
    world.write(
        "three.json",
        &sample.replace(r#""paid":true"#, r#""paid":"yes""#),
    );
    let (code, told) = world.run(&[
        "contracts",
        "new",
        "--source",
        "stripe",
        "--contracts",
        "c",
        "--version",
        "2",
        "--from",
        "three.json",
    ]);
    assert_eq!(code, Some(0), "{told}");
    assert!(
        told.contains("schema.json /paid: was boolean, is string (breaks backward and forward)"),
        "{told}"
    );
    assert_eq!(
        world.text("c/stripe.charge.refunded/v2/schema-id"),
        "1001\n"
    );
    let (code, told) = world.run(&["contracts", "check", "c", "--json"]);
    assert_eq!(code, Some(1), "{told}");
    let wanted = [
        "incompatible",
        "stripe.charge.refunded/v2",
        "record.avsc",
        "/payload/paid",
    ]
    .map(str::to_owned);
    assert!(findings(&told).contains(&wanted), "{told}");
}

#[test]
fn samples_of_every_body_form_become_contracts() {
    for (source, body, contract, more) in [
        ("github", "body.json", "github.pull_request.opened", &[][..]),
        ("adyen", "body.json", "adyen.AUTHORISATION", &[]),
        ("twilio", "body.form", "twilio.delivered", &[]),
        (
            "stripe",
            "body.json",
            "stripe.refund.made",
            &["--type", "refund.made"],
        ),
    ] {
        let world = World::new();
        let (body, headers) = (
            format!("{EXAMPLES}/{source}/{body}"),
            format!("{EXAMPLES}/{source}/headers.txt"),
        );
        let arguments = [
            "contracts",
            "new",
            "--source",
            source,
            "--contracts",
            "c",
            "--headers",
            &headers,
            "--from",
            &body,
        ];
        let (code, told) = world.run(&[&arguments[..], more].concat());
        assert_eq!(code, Some(0), "{source}: {told}");
        assert!(
            world.path(&format!("c/{contract}/v1/schema.json")).exists(),
            "{source}: {told}"
        );
        let (code, told) = world.run(&["contracts", "check", "c"]);
        assert_eq!(code, Some(0), "{source}: {told}");
    }
    let world = World::new();
    let body = format!("{EXAMPLES}/shopify/body.json");
    let (code, told) = world.run(&[
        "contracts",
        "new",
        "--source",
        "shopify",
        "--contracts",
        "c",
        "--from",
        &body,
    ]);
    assert_eq!(code, Some(1), "{told}");
    assert!(
        told.contains("--headers") && told.contains("--type") && !world.path("c").exists(),
        "{told}"
    );
}

#[test]
fn every_example_is_run_and_what_is_wrong_is_named() {
    let world = World::new();
    world.version(1, V1);
    world.write("c/.git/refs/heads", "what is hidden is no contract");
    let (code, told) = world.run(&["contracts", "check", "c"]);
    assert_eq!(code, Some(0), "{told}");
    let examples = "c/order.placed/v1/examples";
    world.write(&format!("{examples}/valid/wrong.json"), r#"{"order_id":7}"#);
    world.write(
        &format!("{examples}/invalid/missing_field--order_id.json"),
        r#"{"order_id":"o"}"#,
    );
    world.write(
        &format!("{examples}/invalid/missing_field--count.json"),
        r#"{"order_id":7}"#,
    );
    world.write(&format!("{examples}/invalid/misspelt--x.json"), "{}");
    world.write(
        &format!("{examples}/invalid/wrong_type--id.json"),
        r#"{"order_id":7}"#,
    );
    let (code, told) = world.run(&["contracts", "check", "c", "--json"]);
    assert_eq!(code, Some(1), "{told}");
    let files: Vec<String> = findings(&told)
        .into_iter()
        .map(|[code, _, file, _]| format!("{code} {file}"))
        .collect();
    assert_eq!(
        files,
        [
            "example_fails examples/valid/wrong.json",
            "example_fails examples/invalid/missing_field--count.json",
            "example_fails examples/invalid/missing_field--order_id.json",
            "example_fails examples/invalid/misspelt--x.json",
        ],
        "{told}"
    );
    let report: Value = serde_json::from_str(told.split("\neventflow: ").next().unwrap()).unwrap();
    let one = &report["contracts"][0];
    assert_eq!(
        (&one["cost"], &one["schema_id"]),
        (&"fast".into(), &2001.into())
    );
    assert_eq!(
        one["codes_without_example"],
        serde_json::json!(["missing_field", "integer_out_of_range"])
    );
}

#[test]
fn what_no_role_would_load_or_a_registry_serve_is_an_error_and_what_costs_is_said() {
    let world = World::new();
    world.version(1, &V1.replace(r#""count":{"type":"integer"}"#, r#""count":{"type":"integer"},"mail":{"type":"string","format":"email","$comment":"TODO: ask"}"#));
    let (code, told) = world.run(&["contracts", "check", "c"]);
    assert_eq!(code, Some(0), "{told}");
    assert!(
        told.contains("slow, ") && told.contains("jsonschema judges /mail: format"),
        "{told}"
    );
    assert!(
        told.contains("warning to_do: order.placed/v1/schema.json /properties/mail: TODO: ask"),
        "{told}"
    );
    for (file, text, code) in [
        (
            "c/order.placed/v1/schema.json",
            r#"{"type":"object","propertys":{}}"#,
            "unusable",
        ),
        ("c/order.placed/v1/schema-id", "0", "no_schema_id"),
        // That of a built-in contract.
        ("c/order.placed/v1/schema-id", "3", "unusable"),
    ] {
        let world = World::new();
        world.version(1, V1);
        world.write(file, text);
        let (exit, told) = world.run(&["contracts", "check", "c", "--json"]);
        assert_eq!(exit, Some(1), "{told}");
        assert_eq!(findings(&told)[0][0], code, "{told}");
    }
    let (code, told) = world.run(&["contracts", "check"]);
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("EVENTFLOW_CONTRACTS"), "{told}");
}

#[test]
fn versions_folders_and_commits_are_compared() {
    let world = World::new();
    world.version(1, V1);
    world.publish();
    world.version(2, &V1.replace(r#""integer""#, r#""number""#));
    let expected = "order.placed/v1 -> order.placed/v2\n  schema.json /count: was an integer, is a number (breaks forward)\n  record.avsc /payload/count: was \"long\", is \"double\" (breaks forward)\n";
    for sides in [
        ["order.placed/v1", "order.placed/v2"],
        ["order.placed.v1", "c/order.placed/v2"],
        ["origin/main", "c"],
        ["HEAD", "order.placed/v2"],
    ] {
        let (code, told) =
            world.run(&["contracts", "diff", sides[0], sides[1], "--contracts", "c"]);
        assert_eq!((code, told.as_str()), (Some(0), expected), "{sides:?}");
    }
    let (_, told) = world.run(&[
        "contracts",
        "diff",
        "HEAD",
        "origin/main",
        "--contracts",
        "c",
    ]);
    assert_eq!(told, "order.placed/v1 -> order.placed/v1\n  the same\n");
    let (code, told) = world.run(&[
        "contracts",
        "diff",
        "order.placed/v1",
        "order.placed/v2",
        "--contracts",
        "c",
        "--json",
    ]);
    let json: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(
        (code, &json[0]["changes"][0]["pointer"]),
        (Some(0), &"/count".into())
    );
    let (code, told) = world.run(&["contracts", "diff", "order.placed/v1", "order.placed/v9"]);
    assert_eq!(code, Some(2), "{told}");
}

#[test]
fn contracts_are_listed_and_shown() {
    let (code, listed) = eventflow(&["contracts", "ls"], &[]);
    assert_eq!(code, Some(0), "{listed}");
    assert!(
        listed.contains("payment.refunded") && listed.contains("eventflow.payment.PaymentRefunded"),
        "{listed}"
    );
    let (code, shown) = eventflow(&["contracts", "show", "payment.refunded"], &[]);
    assert_eq!(code, Some(0), "{shown}");
    for part in [
        "payment.refunded/v1",
        "/amount",
        "above zero",
        "amount_not_positive",
        "ISO 4217 in capital letters",
        "at most 500 characters",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let (code, record) = eventflow(&["contracts", "show", "payment.refunded/v1", "--avro"], &[]);
    let record: Value = serde_json::from_str(&record).unwrap();
    assert_eq!(
        (code, &record["name"]),
        (Some(0), &"PaymentRefunded".into())
    );
    let (code, schema) = eventflow(
        &["contracts", "show", "payment.refunded.v1", "--schema"],
        &[],
    );
    assert_eq!((code, schema.contains("x-eventflow")), (Some(0), true));
    let (code, told) = eventflow(&["contracts", "show", "nothing"], &[]);
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("payment.refunded/v1"), "{told}");
    let repository = concat!(env!("CARGO_MANIFEST_DIR"), "/../contracts/events");
    let (code, told) = eventflow(&["contracts", "check", repository], &[]);
    assert_eq!(code, Some(0), "the built-in contracts: {told}");
}

/// The page's commands, as typed, in a repository with the samples that it names.
#[test]
fn the_commands_of_the_page_work_as_typed() {
    let page =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/EXTEND.md")).unwrap();
    let section = page.split("## Add an event type\n").nth(1).unwrap();
    let section = section.split("\n### What a schema may say").next().unwrap();
    let blocks = section.split("```sh\n").skip(1);
    let commands: Vec<&str> = blocks
        .flat_map(|block| block.split("```").next().unwrap().lines())
        .filter(|line| line.trim().starts_with("eventflow contracts "))
        .map(|line| line.trim().split('#').next().unwrap().trim())
        .collect();
    let world = World::new();
    let sample = std::fs::read_to_string(format!("{EXAMPLES}/stripe/body.json")).unwrap();
    world.write("refund-1.json", &sample);
    world.write(
        "refund-2.json",
        &sample.replace(r#""customer":"cus_EXAMPLE1","#, ""),
    );
    let mut seen = Vec::new();
    for command in commands {
        let arguments: Vec<&str> = command.split_whitespace().skip(1).collect();
        if arguments.contains(&"--version") {
            world.publish();
        }
        let (code, told) = world.run(&arguments);
        assert_eq!(code, Some(0), "{command}: {told}");
        seen.push(arguments[1].to_owned());
    }
    for command in ["new", "show", "check", "diff"] {
        assert!(
            seen.iter().any(|one| one == command),
            "the page shows {command}: {seen:?}"
        );
    }
}

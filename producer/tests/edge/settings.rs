//! Settings that cannot work.

use crate::world::{SECRET, config};
use clap::Args;
use producer::Config;
use runtime::role::Role;

#[test]
fn bad_configuration_names_the_setting_and_no_secret() {
    let problem = |flags: &[&str]| config(flags).check().unwrap_err().to_string();
    assert!(problem(&["--max-in-flight", "0"]).starts_with("--max-in-flight"));
    assert!(problem(&["--batch-max-events", "9999999"]).starts_with("--batch-max-events"));
    // Four times two bodies of the largest size, 4 MiB.
    let problem_of_budget = problem(&["--body-budget-mib", "32"]);
    assert!(
        problem_of_budget.starts_with("--body-budget-mib")
            && problem_of_budget.contains("at least 33"),
        "{problem_of_budget}"
    );
    assert!(config(&["--body-budget-mib", "33"]).check().is_ok());
    assert!(problem(&["--sources", "/nowhere/at/all"]).starts_with("--sources"));
    assert!(problem(&["--kafka-config", "no-such-setting=1"]).contains("no-such-setting"));
    assert!(problem(&["--kafka-security", "sasl-tls"]).starts_with("--kafka-username"));
    let mut help = Vec::new();
    let mut command = Config::augment_args(clap::Command::new("producer"));
    command.write_long_help(&mut help).unwrap();
    let shown = format!("{:?} {}", config(&[]), String::from_utf8(help).unwrap());
    assert!(!shown.contains(SECRET) && shown.contains("[redacted]"));
}

//! Bugs that are planted, one at a time: a judgement that never fails proves nothing.

use crate::profile::Profile;
use crate::results::Results;
use crate::run::{run_all, run_seed};
use crate::schedule::Setting;
use crate::{Cli, print};
use anyhow::Context;
use clap::ValueEnum;
use runtime::faults::{PLANTED, Planted};
use std::process::ExitCode;
use std::rc::Rc;

/// How a bug was looked for.
struct Hunt {
    bug: Planted,
    /// Runs until it was found, or all
    runs: u64,
    /// The checks that named it, of the last run
    named: Vec<String>,
}

/// Looks for each of these bugs, or for all; prints the table.
pub(crate) async fn run(cli: &Rc<Cli>, names: &[String]) -> anyhow::Result<ExitCode> {
    let results = Rc::new(Results::open(cli.results.as_deref())?);
    let hunts: Vec<_> = chosen(names)?
        .into_iter()
        .map(|bug| hunt(Rc::clone(cli), bug, Rc::clone(&results)))
        .collect();
    let mut ended: Vec<Hunt> = Vec::new();
    run_all(cli.jobs, hunts, |hunt| {
        let hunt = hunt?;
        print(&hunt.row())?;
        ended.push(hunt);
        Ok(())
    })
    .await?;
    ended.sort_by_key(|hunt| PLANTED.iter().position(|bug| *bug == hunt.bug));
    let rows: String = ended.iter().map(Hunt::row).collect();
    print(&format!(
        "\n| bug | promise | profile | seeds | named by |\n|---|---|---|---|---|\n{rows}"
    ))?;
    let all_named = ended.iter().all(|hunt| !hunt.named.is_empty());
    Ok(ExitCode::from(u8::from(!all_named)))
}

fn chosen(names: &[String]) -> anyhow::Result<Vec<Planted>> {
    if names.is_empty() {
        return Ok(PLANTED.to_vec());
    }
    let find = |name: &String| {
        let bug = PLANTED.iter().find(|bug| bug.name == name);
        let all = || PLANTED.iter().map(|bug| bug.name).collect::<Vec<_>>();
        bug.copied()
            .with_context(|| format!("there is no bug {name}; there are {}", all().join(", ")))
    };
    names.iter().map(find).collect()
}

/// Runs seeds with a bug until a check names it.
async fn hunt(cli: Rc<Cli>, bug: Planted, results: Rc<Results>) -> anyhow::Result<Hunt> {
    let own = Profile::from_str(bug.profile, false).map_err(anyhow::Error::msg)?;
    let profile = cli.profile.unwrap_or(own);
    let mut hunt = Hunt {
        bug,
        runs: 0,
        named: Vec::new(),
    };
    for seed in cli.seeds.clone().unwrap_or(1..=20) {
        let setting = Setting {
            seed,
            profile,
            // What one broker loses is lost; of three, two must not lose it.
            brokers: if profile == Profile::Brokers {
                3
            } else {
                cli.brokers
            },
            duration: cli.duration,
        };
        let found = match results.find(&cli.build, &setting, Some(bug.name)) {
            Some(outcome) => outcome.wrong.clone(),
            None => {
                let outcome = run_seed(Rc::clone(&cli), setting, Some(bug.name)).await?;
                results.add(&outcome)?;
                if !outcome.has_verdict() {
                    print(&format!("{}\n", outcome.line()))?;
                    continue;
                }
                outcome.wrong
            }
        };
        hunt.runs += 1;
        hunt.named = found.into_iter().map(|finding| finding.check).collect();
        hunt.named.dedup();
        if !hunt.named.is_empty() {
            break;
        }
    }
    Ok(hunt)
}

impl Hunt {
    /// Of the table.
    fn row(&self) -> String {
        let Self { bug, runs, named } = self;
        let named: Vec<String> = named.iter().map(|check| format!("`{check}`")).collect();
        let named = match named.is_empty() {
            true => "**nothing**".to_owned(),
            false => named.join(", "),
        };
        format!(
            "| `{}` | {} | `{}` | {runs} | {named} |\n",
            bug.name, bug.promise, bug.profile
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_bugs_are_looked_for_or_those_that_are_named() {
        assert_eq!(chosen(&[]).unwrap().len(), PLANTED.len());
        let one = chosen(&["secret_logged".to_owned()]).unwrap();
        assert_eq!(one.len(), 1);
        let error = chosen(&["secret".to_owned()]).unwrap_err().to_string();
        assert!(error.contains("there are answer_before_ack, "), "{error}");
    }

    #[test]
    fn every_bug_has_a_profile_that_there_is() {
        for bug in PLANTED {
            assert!(
                Profile::from_str(bug.profile, false).is_ok(),
                "{}",
                bug.name
            );
        }
    }
}

//! What is printed: one line a figure, ours, the baseline, the ratio; and at the end, which goals are met.

use crate::figures::{Goal, Run};
use std::io::Write as _;
use std::sync::Mutex;

pub(crate) fn print(line: &str) {
    // A closed terminal is no reason to stop measuring.
    drop(writeln!(std::io::stdout(), "{line}"));
}

/// What the figures were measured on.
pub(crate) fn machine(brokers: &str) {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("?", |rest| rest.trim_start_matches([' ', '\t', ':']));
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    print(&format!(
        "{model}, {cores} cores for everything, load generator included; load before: {}",
        load.split(' ').next().unwrap_or("?")
    ));
    print(brokers);
    print("rates are medians; CPU is microseconds per event (user and system) of that process\n");
}

/// Ours against a baseline.
pub(crate) fn compare(what: &str, unit: &str, ours: &Run, baseline: (&str, &Run)) {
    let (name, base) = baseline;
    print(&format!(
        "{what}\n  ours {:>9.0} {unit}   {name} {:>9.0} {unit}   ratio {:.2}\n  ours     {}\n  baseline {}\n",
        ours.rate(),
        base.rate(),
        ours.rate() / base.rate(),
        cpu(ours),
        cpu(base)
    ));
}

/// CPU an event, by process, and in all.
pub(crate) fn cpu(run: &Run) -> String {
    let mut text = String::from("CPU us/event:");
    for (name, cost) in run.costs() {
        text.push_str(&format!(" {name} {cost:.2}"));
    }
    if run.cpu.len() > 1 {
        text.push_str(&format!(" = {:.2} in all", run.cost()));
    }
    text
}

/// What was measured of what has a goal.
#[derive(Debug, Default)]
pub(crate) struct Goals(Mutex<Vec<(String, Goal, f64)>>);

impl Goals {
    /// A figure and its goal; `what` has the unit.
    pub(crate) fn note(&self, what: impl Into<String>, goal: Goal, figure: f64) {
        let mut all = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        all.push((what.into(), goal, figure));
    }

    /// Every goal of this run, met or not. Nothing is printed where none was measured.
    pub(crate) fn print(&self) {
        let all = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if all.is_empty() {
            return;
        }
        print("goals");
        for (what, goal, figure) in all.iter() {
            print(&verdict(what, *goal, *figure));
        }
    }
}

fn verdict(what: &str, goal: Goal, figure: f64) -> String {
    let (side, bound) = match goal {
        Goal::AtLeast(bound) => (">=", bound),
        Goal::Below(bound) => ("< ", bound),
    };
    let met = if goal.met(figure) { "met" } else { "NOT MET" };
    format!(
        "  {met:<7} {:>9} {side} {:<8} {what}",
        short(figure),
        short(bound)
    )
}

/// Three digits at least, and no more than the figure has to say.
fn short(figure: f64) -> String {
    if figure.abs() >= 100.0 {
        format!("{figure:.0}")
    } else {
        format!("{figure:.2}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_met_or_not_and_says_by_how_much() {
        let line = verdict("edge, POST/s", Goal::AtLeast(65_000.0), 64_999.0);
        assert_eq!(line, "  NOT MET     64999 >= 65000    edge, POST/s");
        let line = verdict("p50, ms", Goal::Below(15.0), 13.4);
        assert_eq!(line, "  met         13.40 <  15.00    p50, ms");
    }

    #[test]
    fn goals_are_kept_in_order() {
        let goals = Goals::default();
        goals.note("first", Goal::AtLeast(1.0), 2.0);
        goals.note("second", Goal::Below(1.0), 2.0);
        let kept = goals.0.lock().unwrap();
        let names: Vec<_> = kept.iter().map(|(what, ..)| what.as_str()).collect();
        assert_eq!(names, ["first", "second"]);
    }
}

//! What is printed: one line a figure, ours, the baseline, the ratio.

use std::io::Write as _;
use std::time::Duration;

/// One measured run: how many events in how long, and the CPU each process used meanwhile.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) events: u64,
    pub(crate) took: Duration,
    pub(crate) cpu: Vec<(&'static str, Duration)>,
}

impl Run {
    /// Events a second.
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    pub(crate) fn rate(&self) -> f64 {
        self.events as f64 / self.took.as_secs_f64()
    }
}

/// The run in the middle by rate.
pub(crate) fn median(mut runs: Vec<Run>) -> Run {
    runs.sort_by(|a, b| a.rate().total_cmp(&b.rate()));
    runs.swap_remove(runs.len() / 2)
}

pub(crate) fn print(line: &str) {
    // A closed terminal is no reason to stop measuring.
    drop(writeln!(std::io::stdout(), "{line}"));
}

/// What the figures were measured on.
pub(crate) fn machine() {
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
    print("rates are medians; CPU is microseconds per event (user and system) of that process\n");
}

/// Ours against a baseline, with the goal for what the goal is about.
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

/// CPU an event, by process.
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
pub(crate) fn cpu(run: &Run) -> String {
    let mut text = String::from("CPU us/event:");
    for (name, used) in &run.cpu {
        text.push_str(&format!(
            " {name} {:.2}",
            used.as_secs_f64() * 1e6 / run.events as f64
        ));
    }
    text
}

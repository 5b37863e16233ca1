//! Arithmetic of what is measured: CPU from /proc, cost an event, ratios, and goals.

use anyhow::Context;
use std::time::Duration;

/// Linux counts CPU time in these (`getconf CLK_TCK`).
const TICK: Duration = Duration::from_millis(10);

/// CPU time by process: its name, and how much.
pub(crate) type Cpu = Vec<(&'static str, Duration)>;

/// One measured run: how many events in how long, and the CPU each process used meanwhile.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) events: u64,
    pub(crate) took: Duration,
    pub(crate) cpu: Cpu,
}

impl Run {
    /// Events a second.
    pub(crate) fn rate(&self) -> f64 {
        number(self.events) / self.took.as_secs_f64()
    }

    /// CPU microseconds an event, by process.
    pub(crate) fn costs(&self) -> Vec<(&'static str, f64)> {
        let events = number(self.events);
        let cost = |used: &Duration| used.as_secs_f64() * 1e6 / events;
        self.cpu
            .iter()
            .map(|(name, used)| (*name, cost(used)))
            .collect()
    }

    /// CPU microseconds an event, of all its processes.
    pub(crate) fn cost(&self) -> f64 {
        self.costs().iter().map(|(_, cost)| cost).sum()
    }
}

/// The run in the middle by rate.
pub(crate) fn median(mut runs: Vec<Run>) -> Run {
    runs.sort_by(|a, b| a.rate().total_cmp(&b.rate()));
    runs.swap_remove(runs.len() / 2)
}

/// What each process used between two samples. Processes of one name, which are instances of one role, are one entry. A process that was
/// replaced in between has used less at the end than at the beginning: that is counted as nothing.
pub(crate) fn spent(
    before: &[(&'static str, Duration)],
    after: &[(&'static str, Duration)],
) -> Cpu {
    let mut spent = Cpu::new();
    for ((name, after), (_, before)) in after.iter().zip(before) {
        let used = after.saturating_sub(*before);
        match spent.iter_mut().find(|(known, _)| known == name) {
            Some((_, sum)) => *sum += used,
            None => spent.push((name, used)),
        }
    }
    spent
}

/// How much of a figure may be wrong from 2^53 on.
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
pub(crate) fn number(count: u64) -> f64 {
    count as f64
}

/// Of `/proc/PID/stat`: who started it, and its CPU time.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) parent: u32,
    /// Of itself, user and system
    pub(crate) used: Duration,
    /// Of its children that have ended and were waited for
    pub(crate) children: Duration,
}

impl Stat {
    /// Reads proc(5)'s line. The second field is the program's name in parentheses, which may hold spaces and parentheses.
    pub(crate) fn parse(line: &str) -> anyhow::Result<Self> {
        let (_, after_name) = line.rsplit_once(") ").context("unreadable stat")?;
        let fields: Vec<&str> = after_name.split_ascii_whitespace().collect();
        // The state is field 3 of proc(5) and number 0 here.
        let field = |number: usize| -> anyhow::Result<u32> {
            let text = fields.get(number - 3).context("a short stat")?;
            text.parse()
                .with_context(|| format!("field {number} of stat"))
        };
        Ok(Self {
            parent: field(4)?,
            used: TICK * (field(14)? + field(15)?),
            children: TICK * (field(16)? + field(17)?),
        })
    }
}

/// Resident memory in bytes, of `/proc/PID/status`.
pub(crate) fn resident(status: &str) -> anyhow::Result<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .context("no VmRSS")?;
    let kibibytes: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kibibytes * 1024)
}

/// Records a second that Kafka's own `ProducerPerformance` reports: its last line that names them.
pub(crate) fn producer_performance(output: &str) -> anyhow::Result<f64> {
    let line = output
        .lines()
        .rev()
        .find(|line| line.contains(" records/sec "))
        .with_context(|| format!("no rate: {output}"))?;
    let (before, _) = line.split_once(" records/sec").context("no rate")?;
    let rate = before.rsplit(' ').next().unwrap_or_default();
    rate.parse().with_context(|| format!("no rate: {line}"))
}

/// Records a second that Kafka's own `ConsumerPerformance` reports: the column is named in its header, and counts fetching, not the join.
pub(crate) fn consumer_performance(output: &str) -> anyhow::Result<f64> {
    let mut rows = output.lines().map(|line| line.split(", "));
    let column = rows
        .find_map(|mut row| row.position(|name| name == "fetch.nMsg.sec"))
        .with_context(|| format!("no column fetch.nMsg.sec: {output}"))?;
    let last = rows
        .filter_map(|mut row| row.nth(column)?.trim().parse::<f64>().ok())
        .next_back();
    last.with_context(|| format!("no row of figures: {output}"))
}

/// A bound that a figure should keep.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    AtLeast(f64),
    Below(f64),
}

impl Goal {
    pub(crate) fn met(self, figure: f64) -> bool {
        match self {
            Self::AtLeast(bound) => figure >= bound,
            Self::Below(bound) => figure < bound,
        }
    }
}

/// How far a memory grew: the most it was, to what it was once it had settled. The settled figure is the median of the first quarter of the
/// samples that follow the start of the outage.
pub(crate) fn growth(samples: &[u64]) -> Option<f64> {
    let quarter = samples.get(..samples.len().div_ceil(4))?;
    let mut settled = quarter.to_vec();
    settled.sort_unstable();
    let settled = settled.get(settled.len() / 2).filter(|bytes| **bytes > 0)?;
    Some(number(*samples.iter().max()?) / number(*settled))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn run(events: u64, took: Duration) -> Run {
        Run {
            events,
            took,
            cpu: Vec::new(),
        }
    }

    #[test]
    fn the_cost_of_an_event_is_the_cpu_by_the_events() {
        let mut run = run(1000, 500 * MS);
        run.cpu = vec![("a", 20 * MS), ("b", 5 * MS)];
        assert!((run.rate() - 2000.0).abs() < 1e-9);
        let costs = run.costs();
        assert!((costs[0].1 - 20.0).abs() < 1e-9 && (costs[1].1 - 5.0).abs() < 1e-9);
        assert!((run.cost() - 25.0).abs() < 1e-9);
    }

    #[test]
    fn the_median_is_the_run_in_the_middle() {
        let runs = [30, 10, 20].map(|events| run(events, 1000 * MS));
        assert_eq!(median(runs.to_vec()).events, 20);
        // Of two, the faster.
        assert_eq!(median(runs[..2].to_vec()).events, 30);
    }

    #[test]
    fn instances_of_a_role_are_summed_and_a_replaced_process_counts_nothing() {
        let before = [("role", 10 * MS), ("role", 20 * MS), ("kafka", 500 * MS)];
        let after = [("role", 15 * MS), ("role", 40 * MS), ("kafka", 100 * MS)];
        assert_eq!(
            spent(&before, &after),
            [("role", 25 * MS), ("kafka", Duration::ZERO)]
        );
    }

    #[test]
    fn stat_is_read_past_any_name() {
        let line = |name: &str| {
            format!("123 ({name}) S 7 123 123 0 -1 4194560 1 2 3 4 150 25 30 12 20 0 5 0 99 1 2 3")
        };
        let stat = Stat {
            parent: 7,
            used: 1750 * MS,
            children: 420 * MS,
        };
        for name in ["java", "a b", "x) S 1 1", "(y)"] {
            assert_eq!(Stat::parse(&line(name)).unwrap(), stat, "{name}");
        }
        for broken in [
            "",
            "123 (java) S 7",
            "123 (java) S x 1 1 0 -1 4 1 2 3 4 150 25 30 12",
        ] {
            assert!(Stat::parse(broken).is_err(), "{broken}");
        }
        // This machine's own.
        let own = std::fs::read_to_string("/proc/self/stat").unwrap();
        assert_eq!(
            Stat::parse(&own).unwrap().parent,
            std::os::unix::process::parent_id()
        );
    }

    #[test]
    fn resident_memory_is_in_bytes() {
        let status = "Name:\tx\nVmHWM:\t  9000 kB\nVmRSS:\t    2048 kB\nThreads:\t1\n";
        assert_eq!(resident(status).unwrap(), 2 << 20);
        assert!(resident("Name:\tx\n").is_err());
    }

    #[test]
    fn the_output_of_kafkas_own_tools_is_read() {
        let produced = "12345 records sent, 2469.0 records/sec (0.59 MB/sec), 1.3 ms avg latency, 390.0 ms max latency.\n\
            400000 records sent, 251256.28 records/sec (71.89 MB/sec), 12.10 ms avg latency, 300.00 ms max latency, 9 ms 50th.\n";
        assert!((producer_performance(produced).unwrap() - 251_256.28).abs() < 1e-6);
        assert!(producer_performance("Exception in thread main\n").is_err());
        let consumed = "start.time, end.time, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec, rebalance.time.ms, fetch.time.ms, fetch.MB.sec, fetch.nMsg.sec\n\
            2026-11-30 16:00:00:000, 2026-11-30 16:00:02:000, 114.4409, 57.2, 400000, 200000.0, 500, 1500, 76.29, 266666.6667\n";
        assert!((consumer_performance(consumed).unwrap() - 266_666.666_7).abs() < 1e-6);
        assert!(consumer_performance("usage: kafka-consumer-perf-test\n").is_err());
        assert!(consumer_performance(consumed.lines().next().unwrap()).is_err());
    }

    #[test]
    fn goals_have_a_side() {
        assert!(Goal::AtLeast(0.9).met(0.9) && !Goal::AtLeast(0.9).met(0.89));
        assert!(Goal::Below(15.0).met(14.9) && !Goal::Below(15.0).met(15.0));
        // What could not be computed is never met.
        assert!(!Goal::AtLeast(0.9).met(f64::NAN) && !Goal::Below(1.0).met(f64::NAN));
    }

    #[test]
    fn growth_is_from_the_settled_memory_to_the_most() {
        assert_eq!(growth(&[]), None);
        assert_eq!(growth(&[0]), None);
        let flat = growth(&[100, 100, 100, 100]).unwrap();
        assert!((flat - 1.0).abs() < 1e-9);
        // A peak that is over again counts; one sample that is low does not move where it starts.
        let peaked = growth(&[10, 100, 100, 100, 300, 110, 100, 100, 100, 100]).unwrap();
        assert!((peaked - 3.0).abs() < 1e-9);
    }
}

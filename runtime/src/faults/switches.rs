//! What the environment switches on, read once.

use super::{PLANTED, POINTS};
use std::io::Write;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

const PLANTED_BY: &str = "EVENTFLOW_PLANTED";
const KILL_AT: &str = "EVENTFLOW_KILL_AT";
const CLOCK_OFFSET: &str = "EVENTFLOW_CLOCK_OFFSET_SECONDS";

#[derive(Debug, Default, PartialEq, Eq)]
struct Switches {
    planted: Option<String>,
    kill_at: Option<KillAt>,
    clock_offset_seconds: i64,
}

/// Once in how many passes the process ends at this point, on average.
#[derive(Debug, PartialEq, Eq)]
struct KillAt {
    point: String,
    one_in: u64,
}

static SWITCHES: LazyLock<Switches> = LazyLock::new(|| {
    let set = |name| std::env::var(name).ok().filter(|text| !text.is_empty());
    match Switches::parse(set(PLANTED_BY), set(KILL_AT), set(CLOCK_OFFSET).as_deref()) {
        Ok(switches) => {
            if switches != Switches::default() {
                tracing::warn!(event = "faults_switched_on", ?switches, "for tests only");
            }
            switches
        }
        Err(problem) => {
            say(&problem);
            std::process::exit(2)
        }
    }
});

/// Whether this bug is switched on.
#[must_use]
pub fn planted(name: &str) -> bool {
    SWITCHES.planted.as_deref() == Some(name)
}

/// Ends the process here when that is switched on, as a kill would: nothing is dropped, flushed or committed.
pub fn kill_point(name: &str) {
    if let Some(KillAt { point, one_in }) = &SWITCHES.kill_at
        && point == name
        && fastrand::u64(..*one_in) == 0
    {
        say(&format!("{KILL_AT}: the process ends at {name}"));
        std::process::abort();
    }
}

/// What a clock that is wrong shows instead.
#[must_use]
pub fn clock(now: SystemTime) -> SystemTime {
    let offset = SWITCHES.clock_offset_seconds;
    let by = Duration::from_secs(offset.unsigned_abs());
    let shown = match offset < 0 {
        true => now.checked_sub(by),
        false => now.checked_add(by),
    };
    shown.unwrap_or(now)
}

/// Ends the process with exit code 2 when the environment names what there is not.
pub fn check() {
    LazyLock::force(&SWITCHES);
}

/// The last word of the process, whatever the log filter.
fn say(text: &str) {
    // Nobody may read it any more.
    drop(writeln!(std::io::stderr(), "eventflow: {text}"));
}

impl Switches {
    fn parse(
        planted: Option<String>,
        kill_at: Option<String>,
        clock_offset: Option<&str>,
    ) -> Result<Self, String> {
        if let Some(name) = &planted
            && PLANTED.iter().all(|known| known.name != name)
        {
            let names: Vec<&str> = PLANTED.iter().map(|known| known.name).collect();
            return Err(unknown(PLANTED_BY, name, &names));
        }
        let kill_at = kill_at.map(|text| KillAt::parse(&text)).transpose()?;
        let clock_offset_seconds = clock_offset
            .unwrap_or("0")
            .parse()
            .map_err(|error| format!("{CLOCK_OFFSET}: {error}; give seconds, as in 90 or -90"))?;
        Ok(Self {
            planted,
            kill_at,
            clock_offset_seconds,
        })
    }
}

impl KillAt {
    fn parse(text: &str) -> Result<Self, String> {
        let (point, one_in) = text.split_once(':').unwrap_or((text, "1"));
        if POINTS.iter().all(|known| known.name != point) {
            let names: Vec<&str> = POINTS.iter().map(|known| known.name).collect();
            return Err(unknown(KILL_AT, point, &names));
        }
        let one_in = one_in.parse().ok().filter(|one_in| *one_in > 0);
        let one_in = one_in.ok_or_else(|| {
            format!("{KILL_AT}: {text:?} must end with how many passes there are for each kill, as in {point}:100")
        })?;
        Ok(Self {
            point: point.to_owned(),
            one_in,
        })
    }
}

fn unknown(setting: &str, name: &str, known: &[&str]) -> String {
    format!(
        "{setting}: there is no {name:?}; use one of {}",
        known.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(planted: &str, kill_at: &str) -> Result<Switches, String> {
        let set = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Switches::parse(set(planted), set(kill_at), None)
    }

    #[test]
    fn a_clock_is_wrong_by_seconds_in_either_direction() {
        let offset = |text: &str| {
            Switches::parse(None, None, Some(text)).map(|switches| switches.clock_offset_seconds)
        };
        assert_eq!(offset("90"), Ok(90));
        assert_eq!(offset("-90"), Ok(-90));
        assert!(offset("1m").unwrap_err().contains("as in 90 or -90"));
    }

    #[test]
    fn the_environment_names_a_bug_and_a_point() {
        assert_eq!(parse("", "").unwrap(), Switches::default());
        let switches = parse("answer_before_ack", "edge_acknowledged:40").unwrap();
        assert_eq!(switches.planted.as_deref(), Some("answer_before_ack"));
        let at = switches.kill_at.unwrap();
        assert_eq!((&*at.point, at.one_in), ("edge_acknowledged", 40));
        let always = parse("", "edge_acknowledged").unwrap().kill_at.unwrap();
        assert_eq!(always.one_in, 1);
    }

    #[test]
    fn what_there_is_not_is_refused_with_what_there_is() {
        for (planted, kill_at, words) in [
            ("answer_befor_ack", "", "one of answer_before_ack, "),
            ("", "edge", "one of edge_handed_over, "),
            ("", "edge_acknowledged:0", "edge_acknowledged:100"),
            ("", "edge_acknowledged:often", "edge_acknowledged:100"),
        ] {
            let problem = parse(planted, kill_at).unwrap_err();
            assert!(problem.contains(words), "{problem}");
        }
    }
}

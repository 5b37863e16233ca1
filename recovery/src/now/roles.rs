//! Where the other roles are.

use contracts::pipeline::Pipeline;
use runtime::config::ConfigError;
use std::collections::BTreeSet;

/// The edge's name.
pub(crate) const EDGE: &str = "producer";
/// This role's.
pub(crate) const OWN: &str = "recovery";
/// Roles that events do not pass.
pub(crate) const BESIDE: [&str; 2] = ["registry", "simulator"];

/// Where the other roles serve `/ready` and `/metrics`.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct RoleArgs {
    /// Where a role serves /ready and /metrics (its --ops-listen), as NAME=http://HOST:PORT; repeatable. eventflow now, the API and the
    /// console show how it is. All addresses of the host's name are instances of the role, and a role may be given more than once. Names:
    /// producer, the stages of the pipeline, registry, simulator
    #[arg(
        help_heading = "API",
        long = "role",
        value_name = "NAME=URL",
        env = "EVENTFLOW_RECOVERY_ROLES",
        value_delimiter = ','
    )]
    pub roles: Vec<String>,
}

/// One `--role`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RoleUrl {
    pub(crate) role: String,
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl RoleArgs {
    /// Reads them.
    ///
    /// # Errors
    /// Names the setting: no name of a role, or no URL of this form.
    pub(crate) fn parse(&self, pipeline: &Pipeline) -> Result<Vec<RoleUrl>, ConfigError> {
        let stages = pipeline.stages.iter().map(|stage| stage.name.as_str());
        let known: Vec<&str> = [EDGE].into_iter().chain(stages).chain(BESIDE).collect();
        let mut given = BTreeSet::new();
        let parsed = self.roles.iter().map(|text| parse(text, &known));
        let parsed: Result<Vec<RoleUrl>, String> = parsed.collect();
        let parsed = parsed.map_err(|problem| ConfigError::new("--role", problem))?;
        for role in &parsed {
            if !given.insert((&role.role, &role.host, role.port)) {
                let problem = format!(
                    "{}=http://{}:{} is given twice",
                    role.role, role.host, role.port
                );
                return Err(ConfigError::new("--role", problem));
            }
        }
        Ok(parsed)
    }
}

fn parse(text: &str, known: &[&str]) -> Result<RoleUrl, String> {
    let form =
        || format!("{text:?}: expected NAME=http://HOST:PORT, as validator=http://validator:9100");
    let (role, url) = text.split_once('=').ok_or_else(form)?;
    if !known.contains(&role) {
        let known = known.join(", ");
        return Err(format!("{role:?} is no role; the roles are {known}"));
    }
    let place = url.strip_prefix("http://").ok_or_else(form)?;
    let place = place.strip_suffix('/').unwrap_or(place);
    let (host, port) = place.rsplit_once(':').ok_or_else(form)?;
    let inner = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let legal = match inner {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let legal = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
            !host.is_empty() && host.chars().all(legal)
        }
    };
    match port.parse() {
        Ok(port) if legal && port > 0 => Ok(RoleUrl {
            role: role.to_owned(),
            host: inner.unwrap_or(host).to_owned(),
            port,
        }),
        _ => Err(form()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test")]
    use super::*;

    fn read(entries: &[&str]) -> Result<Vec<RoleUrl>, ConfigError> {
        let roles = entries.iter().map(|entry| (*entry).to_owned()).collect();
        RoleArgs { roles }.parse(&Pipeline::built_in())
    }

    #[test]
    fn a_role_is_a_name_of_the_pipeline_and_an_address() {
        let read = read(&[
            "producer=http://edge.eventflow.svc:9100/",
            "validator=http://[::1]:9100",
            "validator=http://10.0.0.2:9100",
            "registry=http://registry:8081",
        ])
        .unwrap();
        let places: Vec<_> = read.iter().map(|role| (&*role.host, role.port)).collect();
        assert_eq!(
            places,
            [
                ("edge.eventflow.svc", 9100),
                ("::1", 9100),
                ("10.0.0.2", 9100),
                ("registry", 8081)
            ]
        );
    }

    #[test]
    fn what_is_none_is_refused_by_name() {
        for (entries, says) in [
            (&["http://validator:9100"][..], "expected NAME="),
            (
                &["validater=http://v:9100"],
                "the roles are producer, validator",
            ),
            (&["validator=https://v:9100"], "expected NAME="),
            (&["validator=http://v"], "expected NAME="),
            (&["validator=http://v:9100/metrics"], "expected NAME="),
            (&["validator=http://user@v:9100"], "expected NAME="),
            (&["validator=http://:9100"], "expected NAME="),
            (&["validator=http://v:0"], "expected NAME="),
            (&["validator=http://v:1", "validator=http://v:1"], "twice"),
        ] {
            let error = read(entries).unwrap_err().to_string();
            assert!(
                error.starts_with("--role") && error.contains(says),
                "{error}"
            );
        }
    }
}

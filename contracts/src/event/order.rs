//! Which contract says more of an event: what its row may be typed again by, and what it may not be turned back to.

use super::Catalog;
use super::catalog::pinned;

/// The contract that declares nothing.
pub(super) const GENERIC: &str = "any";

/// Whether a contract says more of an event than another: each says more than the generic one, and a newer version more than an older one.
/// Both are labels, with their version (`payment.authorized.v1`); anything else says neither more nor less.
#[must_use]
pub fn says_more(label: &str, than: &str) -> bool {
    match (pinned(label), pinned(than)) {
        (Some((name, version)), Some((other, older))) if name == other => version > older,
        (Some(_), Some((other, _))) => other == GENERIC,
        (_, _) => false,
    }
}

impl Catalog {
    /// Labels of contracts than which one of these says more: the generic one, and the older versions of each, whether they are here or not.
    #[must_use]
    pub fn outdone(&self) -> Vec<String> {
        let older = self.iter().flat_map(|contract| {
            let last = match contract.name == GENERIC {
                true => contract.version,
                false => contract.version - 1,
            };
            (1..=last).map(|version| format!("{}.v{version}", contract.name))
        });
        let mut labels: Vec<String> = older.collect();
        labels.sort_unstable();
        labels.dedup();
        labels
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contract_says_more_than_the_generic_one_and_than_its_older_versions_only() {
        for (label, than) in [
            ("github.push.v1", "any.v1"),
            ("github.push.v1", "any.v2"),
            ("any.v2", "any.v1"),
            ("github.push.v10", "github.push.v9"),
        ] {
            assert!(says_more(label, than), "{label} {than}");
            assert!(!says_more(than, label), "{than} {label}");
        }
        for (label, than) in [
            ("github.push.v1", "github.push.v1"),
            ("any.v1", "any.v1"),
            ("github.push.v2", "github.ping.v1"),
            ("github.push.v2", "payment.authorized"),
            ("github.push", "any.v1"),
            ("github.push.v1", ""),
            ("", "any.v1"),
        ] {
            assert!(!says_more(label, than), "{label} {than}");
        }
    }

    #[test]
    fn what_may_be_typed_again_is_the_generic_contract_and_older_versions() {
        let version = |number| {
            let mut files = Catalog::builtin_files();
            files.retain(|files| files.name == "payment.refunded" || files.name == GENERIC);
            for files in &mut files {
                if files.name != GENERIC {
                    files.version = number;
                }
            }
            Catalog::compile(files).unwrap().outdone()
        };
        assert_eq!(version(1), ["any.v1"]);
        assert_eq!(
            version(3),
            ["any.v1", "payment.refunded.v1", "payment.refunded.v2"]
        );
    }
}

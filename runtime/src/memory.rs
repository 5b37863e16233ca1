//! How much memory this process may use: the limit of its control group, as containers set it.

use std::path::Path;

/// cgroup v1 writes "no limit" as the largest multiple of a page; nothing real comes near this.
const UNLIMITED: u64 = 1 << 60;

/// The smallest memory limit, in bytes, of the control groups this process is in; `None` where none is set.
#[must_use]
pub fn limit_bytes() -> Option<u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    limit_in(Path::new("/sys/fs/cgroup"), &groups)
}

/// As [`limit_bytes`], with the mounted file system and the content of `/proc/self/cgroup`.
fn limit_in(mounted: &Path, groups: &str) -> Option<u64> {
    groups
        .lines()
        .filter_map(|line| {
            // `number:controllers:path`; version 2 names no controllers.
            let mut fields = line.splitn(3, ':').skip(1);
            let (controllers, path) = (fields.next()?, fields.next()?);
            if controllers.is_empty() {
                smallest(mounted, path, "memory.max")
            } else if controllers.split(',').any(|name| name == "memory") {
                smallest(&mounted.join("memory"), path, "memory.limit_in_bytes")
            } else {
                None
            }
        })
        .min()
}

/// A group is also bound by those above it. In a container the path may be the host's, which is not there, and the root is the container's.
fn smallest(mounted: &Path, path: &str, file: &str) -> Option<u64> {
    Path::new(path.trim_start_matches('/'))
        .ancestors()
        .filter_map(|group| {
            let text = std::fs::read_to_string(mounted.join(group).join(file)).ok()?;
            text.trim().parse().ok()
        })
        .filter(|limit| *limit < UNLIMITED)
        .min()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test")]

    use super::*;

    #[test]
    fn the_smallest_limit_on_the_way_to_the_root_counts_in_both_versions() {
        let files = [
            ("memory.max", "max"),
            ("app/memory.max", "536870912"),
            ("app/edge/memory.max", "max"),
            ("memory/memory.limit_in_bytes", "9223372036854771712"),
            ("memory/pod/memory.limit_in_bytes", "268435456"),
            ("empty/none", ""),
        ];
        let mounted = std::env::temp_dir().join(format!("cgroup-{}", uuid::Uuid::new_v4()));
        for (file, text) in files {
            let path = mounted.join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, format!("{text}\n")).unwrap();
        }
        for (groups, expected) in [
            ("0::/app/edge\n", Some(512 << 20)),
            ("0::/\n", None),
            // The host's path, inside a container that has its own root.
            ("0::/kubepods/pod7\n", None),
            ("4:cpu:/pod\n3:memory:/pod\n", Some(256 << 20)),
            ("3:memory:/elsewhere\n", None),
            ("4:cpu:/pod\n", None),
            ("0::/app\n3:memory:/pod\n", Some(256 << 20)),
            ("nonsense", None),
        ] {
            assert_eq!(limit_in(&mounted, groups), expected, "{groups:?}");
        }
        std::fs::remove_dir_all(mounted).unwrap();
    }
}

//! The peak memory of a cgroup's processes.

use std::{fs, path::Path};

use crate::outcome::memory::parse_peak;

/// The peak memory of the largest process. The cgroup's own figure needs the memory controller, which may be in another
/// hierarchy.
pub fn of_processes_in(control_group: &str) -> Option<u64> {
    let roots = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"];
    let listed = roots.iter().find_map(|root| {
        let path = Path::new(root).join(control_group.trim_start_matches('/')).join("cgroup.procs");
        fs::read_to_string(path).ok()
    })?;
    listed.lines().filter_map(|pid| parse_peak(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_is_read_from_the_kernels_text() {
        let own = fs::read_to_string("/proc/self/status").expect("this process has a status");
        assert!(parse_peak(&own).is_some_and(|bytes| bytes > 100_000));
        assert_eq!(parse_peak("Name:\tdockerd\nVmHWM:\t    2048 kB\nVmRSS:\t 1 kB\n"), Some(2 << 20));
        assert_eq!(parse_peak("Name:\tkthreadd\n"), None);
    }
}

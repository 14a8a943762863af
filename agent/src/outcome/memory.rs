//! Peak of the memory that a process has had resident.

/// Returns the peak resident memory of this process in bytes (`VmHWM` in proc(5)), or 0 if the kernel does
/// not report it.
pub fn peak_memory() -> u64 {
    std::fs::read_to_string("/proc/self/status").ok().and_then(|status| parse_peak(&status)).unwrap_or(0)
}

/// Parses the peak resident memory in bytes from the `status` file of a process.
pub fn parse_peak(status: &str) -> Option<u64> {
    let kib =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peak_memory_is_read_from_the_kernels_own_words() {
        assert_eq!(parse_peak("Name:\tagent\nVmHWM:\t   12345 kB\nVmRSS:\t 1 kB\n"), Some(12345 * 1024));
        assert_eq!(parse_peak("Name:\tagent\n"), None);
        assert!(peak_memory() > 0);
    }
}

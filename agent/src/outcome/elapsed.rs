//! Times that something took, in words.

/// Formats a duration: `1.2 s` or `45 ms`.
pub fn human_ms(ms: u64) -> String {
    if ms < 1000 { format!("{ms} ms") } else { format!("{}.{} s", ms / 1000, ms % 1000 / 100) }
}

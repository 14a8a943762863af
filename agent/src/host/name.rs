//! The name of this host.

/// Returns the host name, for people; it proves nothing.
pub fn hostname() -> String {
    // Not from /proc: a hardened unit sees only processes there.
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

//! The last lines of what a verb about nodes tells a person.

use std::fmt;

use swarmdr_archive::untrusted::shown;

/// Writes what has to be looked after, what to do, and that a dry run changed nothing.
pub fn write(f: &mut fmt::Formatter<'_>, attention: &[String], to_do: &[String], dry_run: bool) -> fmt::Result {
    for attention in attention {
        writeln!(f, "! {}", shown(attention))?;
    }
    for line in to_do {
        writeln!(f, "  to do: {}", shown(line))?;
    }
    match dry_run {
        true => writeln!(f, "Nothing was changed."),
        false => Ok(()),
    }
}

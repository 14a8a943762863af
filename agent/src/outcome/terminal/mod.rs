//! The only access to standard output and standard error.
//!
//! Much of the printed text comes from other machines: a hostname in a manifest, a label, the answer of a server. An
//! escape sequence in it could move the cursor, or recolour or wipe what the terminal shows, and invisible characters
//! can make two names look alike. So all output goes through [`Escaped`]. Untrusted text inside a line also goes
//! through [`shown`], so that it cannot begin a line of its own.

use std::{
    fmt::{self, Write as _},
    io::{self, Write},
};

use serde::Serialize;
use swarmdr_archive::untrusted::{escape, needs_escape, shown};
use tracing::field::Field;
use tracing_subscriber::fmt::format::Writer;

/// Returns the text with everything escaped that could control a terminal; line breaks and tabs stay.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    // Writing to a `String` does not fail.
    let _ = escape(text, &mut out, |character| matches!(character, '\n' | '\t'));
    out
}

/// Returns the bytes as text that is safe for a terminal. Bytes that are not UTF-8 are shown as `\xff`.
pub fn escaped_bytes(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        out.push_str(&escaped(chunk.valid()));
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

/// Writer that escapes text for a terminal. Each call must pass whole characters.
#[derive(Debug)]
pub struct Escaped<W>(pub W);

impl<W: Write> Write for Escaped<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_all(escaped_bytes(bytes).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Returns a report as JSON for a script. Characters that could control a terminal can only be inside strings there,
/// and a parser reads their escapes as the same text.
pub fn json(report: &impl Serialize) -> serde_json::Result<String> {
    let text = serde_json::to_string_pretty(report)?;
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        // Line breaks of the document; inside strings serde has escaped them.
        if character == '\n' || !needs_escape(character) {
            out.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            let _ = write!(out, "\\u{unit:04x}");
        }
    }
    Ok(out)
}

/// Returns standard output without escaping. Only for output that this program controls, such as a script, a progress
/// bar or the colours of the log.
#[expect(clippy::disallowed_methods, reason = "the one door")]
pub fn stdout() -> io::Stdout {
    io::stdout()
}

/// Returns standard error without escaping; for the same uses as [`stdout`].
#[expect(clippy::disallowed_methods, reason = "the one door")]
pub fn stderr() -> io::Stderr {
    io::stderr()
}

/// Prints on standard output. A pipe that its reader has closed is not an error.
pub fn print(text: &str) -> io::Result<()> {
    ignoring_closed(Escaped(stdout()).write_all(text.as_bytes()))
}

/// Prints on standard error and ignores errors.
pub fn tell(text: &str) {
    let _ = Escaped(stderr()).write_all(text.as_bytes());
}

fn ignoring_closed(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Writes one field of a log line. The logger adds its colours around the field, so only constant text is
/// written without escaping.
pub fn write_field(out: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    match field.name() {
        "message" => write_message(out, &format!("{value:?}")),
        name => write!(out, "{name}={}", shown(format_args!("{value:?}"))),
    }
}

/// Writes a log message. The line breaks that this program puts between the parts of an error stay; any other line
/// break is from untrusted text and is escaped.
pub fn write_message(out: &mut impl fmt::Write, message: &str) -> fmt::Result {
    let mut rest = message;
    while let Some((at, mark)) = next_part(rest) {
        write!(out, "{}{mark}", shown(&rest[..at]))?;
        rest = &rest[at + mark.len()..];
    }
    write!(out, "{}", shown(rest))
}

fn next_part(text: &str) -> Option<(usize, &'static str)> {
    [BECAUSE, TO_DO].iter().filter_map(|mark| text.find(mark).map(|at| (at, *mark))).min()
}

/// Separators between the parts of an error.
pub const BECAUSE: &str = "\n  because: ";
pub const TO_DO: &str = "\n  to do: ";

#[cfg(test)]
pub(crate) mod tests;

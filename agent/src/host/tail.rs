//! The last bytes of what a program writes: what a message shows of it, or by what a dump says that it is complete.

use std::io::{self, Write};

/// Keeps the last bytes of what passes.
#[derive(Debug)]
pub struct Tail {
    kept: Vec<u8>,
    most: usize,
}

impl Tail {
    pub fn new(most: usize) -> Self {
        Self { kept: Vec::new(), most }
    }

    pub fn push(&mut self, bytes: &[u8]) {
        let last = &bytes[bytes.len().saturating_sub(self.most)..];
        self.kept.extend_from_slice(last);
        let surplus = self.kept.len().saturating_sub(self.most);
        self.kept.drain(..surplus);
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.kept
    }

    /// True if what passed ends with this text, spaces and line ends after it aside.
    pub fn ends_with(&self, text: &str) -> bool {
        self.kept.trim_ascii_end().ends_with(text.trim_end().as_bytes())
    }
}

impl Write for Tail {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.push(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_bytes_are_kept_however_they_come() {
        let all: Vec<u8> = (0..=99).collect();
        for size in 1..=all.len() {
            let mut tail = Tail::new(10);
            all.chunks(size).for_each(|piece| tail.push(piece));
            assert_eq!(tail.kept, all[90..], "{size}");
        }
    }

    #[test]
    fn a_dump_says_that_it_is_complete() {
        let mut tail = Tail::new(64);
        tail.push(b"-- PostgreSQL database dump");
        assert!(!tail.ends_with("-- PostgreSQL database dump complete"));
        tail.push(b" complete\n--\n\n");
        assert!(tail.ends_with("-- PostgreSQL database dump complete\n--"));
        assert!(!tail.ends_with("-- PostgreSQL database dump complete"), "something follows");
    }
}

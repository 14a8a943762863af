//! One stream on its way into several vaults at once.

use std::io::{self, Write};

use bytes::Bytes;
use swarmdr_vault::{Ending, PayloadWriter};

/// Writer that hands the same bytes to every vault. A vault that no longer takes the stream is passed over: its put says
/// why. The slowest one sets the pace.
#[derive(Debug, Default)]
pub struct Fan {
    /// `None` once a vault takes no more.
    vaults: Vec<Option<PayloadWriter>>,
}

impl Fan {
    pub fn add(&mut self, vault: PayloadWriter) {
        self.vaults.push(Some(vault));
    }

    /// Ends the stream in each vault that has all of it so far.
    pub fn finish(self, head: Vec<u8>, tail: Vec<u8>) {
        let ending = Ending { head: Bytes::from(head), tail: Bytes::from(tail) };
        for vault in self.vaults.into_iter().flatten() {
            // The put of a vault that takes no more says why.
            let _ = vault.finish(ending.clone());
        }
    }
}

impl Write for Fan {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for place in &mut self.vaults {
            if place.as_mut().is_some_and(|vault| vault.write_all(bytes).is_err()) {
                *place = None;
            }
        }
        if self.vaults.iter().all(Option::is_none) {
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, "no vault takes the stream any more"));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use swarmdr_vault::payload;

    use super::*;

    #[test]
    fn a_vault_that_takes_no_more_is_passed_over_and_none_at_all_is_an_error() {
        let mut fan = Fan::default();
        let (kept, _receiver) = payload();
        let (gone, receiver) = payload();
        fan.add(kept.into_writer());
        fan.add(gone.into_writer());
        drop(receiver);
        fan.write_all(&vec![0; 300 << 10]).expect("one vault is left");
        assert_eq!(fan.vaults.iter().flatten().count(), 1);
        let mut none = Fan::default();
        assert_eq!(none.write(b"x").expect_err("no vault").kind(), io::ErrorKind::BrokenPipe);
    }
}

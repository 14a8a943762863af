//! Where the bytes of a stream go: a program, or standard output.

use std::{
    io::{self, IsTerminal, Write},
    process::{ChildStdin, Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use swarmdr_archive::untrusted::shown;

use super::{
    stopper::{Stopper, Target},
    task_output::Task,
};
use crate::{host::process_group::ProcessGroup, outcome::failure::Failure};

/// A receiver that can be ended before it takes the end of what it got for the end of the stream.
///
/// A program is started by the first byte that is released to it, or by the proven end: where nothing can be released,
/// nothing runs.
#[derive(Debug)]
pub enum Output {
    Program(Program),
    Task(Task),
    Standard(io::Stdout),
    /// Nothing: the stream is only checked.
    Nowhere {
        /// False if it is not even opened.
        opens: bool,
    },
}

/// A program that takes a stream.
#[derive(Debug)]
pub struct Program {
    words: Vec<String>,
    environment: Vec<(&'static str, String)>,
    /// Whether our standard output is for a report, so that what it writes there goes to standard error.
    beside_report: bool,
    running: Option<(ProcessGroup, ChildStdin)>,
    stopper: Stopper,
}

/// What became of a command that was killed in the middle of its input.
pub(super) const KILLED: &str =
    "the command was killed before it saw the end of its input; what it did with the bytes before is to be undone";

/// What became of a command of whose input nothing could be released.
pub(super) const NOT_STARTED: &str = "the command was not started";

#[allow(clippy::disallowed_methods, reason = "the program writes there by itself, as to one that it inherits")]
fn own_stderr() -> io::Stderr {
    io::stderr()
}

impl Program {
    fn stdin(&mut self) -> io::Result<&mut ChildStdin> {
        if self.running.is_none() {
            let (program, arguments) =
                self.words.split_first().ok_or_else(|| io::Error::other("the command is empty"))?;
            let mut command = Command::new(program);
            command.args(arguments).envs(self.environment.iter().map(|(name, value)| (name, value)));
            command.stdin(Stdio::piped());
            if self.beside_report {
                command.stdout(own_stderr());
            }
            let spawn = || {
                let group = ProcessGroup::spawn(&mut command)?;
                let killer = group.killer();
                Ok::<_, io::Error>((group, Target::Program(killer)))
            };
            let mut group = self.stopper.started(spawn)?;
            let stdin = group.pipes().stdin.take().ok_or_else(|| io::Error::other("it has no standard input"))?;
            self.running = Some((group, stdin));
        }
        self.running.as_mut().map(|(_, stdin)| stdin).ok_or_else(|| io::Error::other("it does not run"))
    }

    fn name(&self) -> String {
        shown(self.words.first().map_or("", String::as_str)).to_string()
    }

    fn finish(mut self) -> Result<()> {
        let name = self.name();
        self.stdin().with_context(|| format!("the command `{name}` cannot be run"))?;
        let (mut group, stdin) = self.running.take().context("the command does not run")?;
        drop(stdin);
        let status = group.wait().context("the command could not be waited for")?;
        ensure!(status.success(), "the command `{name}` got all of the stream, and ended with {status}");
        Ok(())
    }

    fn cut_off(mut self) -> &'static str {
        match self.running.take() {
            None => NOT_STARTED,
            Some((mut group, stdin)) => {
                group.kill();
                drop(stdin);
                KILLED
            }
        }
    }
}

impl Output {
    /// A program, without a shell, that gets the stream on its standard input. Its outputs are ours.
    pub fn to_program(words: &[String], environment: Vec<(&'static str, String)>) -> Self {
        Self::program(words, environment, false)
    }

    /// Such a program, in a run that prints a report: all that it writes goes to our standard error.
    pub fn to_program_beside_report(words: &[String], environment: Vec<(&'static str, String)>) -> Self {
        Self::program(words, environment, true)
    }

    fn program(words: &[String], environment: Vec<(&'static str, String)>, beside_report: bool) -> Self {
        let stopper = Stopper::default();
        Self::Program(Program { words: words.to_vec(), environment, beside_report, running: None, stopper })
    }

    /// A command in a container of this host, without a shell, that gets the stream on its standard input.
    pub fn to_task(task: Task) -> Self {
        Self::Task(task)
    }

    /// Standard output, as bytes. Refused if it is a terminal, which a stream could steer.
    #[allow(clippy::disallowed_methods, reason = "the stream is no text of ours, and goes to no terminal")]
    pub fn standard() -> Result<Self> {
        let out = io::stdout();
        if out.is_terminal() {
            return Err(Failure::usage("standard output is a terminal, and a stream is bytes")
                .advice("give a command that takes it behind `--`, or redirect it into a file")
                .into());
        }
        Ok(Self::Standard(out))
    }

    /// Takes nothing: the stream is opened and checked.
    pub fn nowhere() -> Self {
        Self::Nowhere { opens: true }
    }

    /// Takes nothing: what is stored is compared with what was signed, which needs no identity.
    pub fn stored_only() -> Self {
        Self::Nowhere { opens: false }
    }

    /// Whether the stream has to be opened for it.
    pub fn opens(&self) -> bool {
        !matches!(self, Self::Nowhere { opens: false })
    }

    pub fn stopper(&self) -> Stopper {
        match self {
            Self::Program(program) => program.stopper.clone(),
            Self::Task(task) => task.stopper(),
            Self::Standard(_) | Self::Nowhere { .. } => Stopper::default(),
        }
    }

    /// Says that all of the stream was written, and waits for the program. Fails if it fails.
    pub fn finish(self) -> Result<()> {
        match self {
            Self::Standard(mut out) => Ok(out.flush()?),
            Self::Program(program) => program.finish(),
            Self::Task(task) => task.finish(),
            Self::Nowhere { .. } => Ok(()),
        }
    }

    /// Kills the program while its input is still open, so that it never sees an end. Returns what became of it.
    pub fn cut_off(self) -> &'static str {
        match self {
            Self::Standard(_) => {
                "standard output has the bytes before that place, and nothing tells its reader that they are not all"
            }
            Self::Program(program) => program.cut_off(),
            Self::Task(task) => task.cut_off(),
            Self::Nowhere { .. } => "the stream cannot be used",
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Program(program) => program.stdin()?.write(bytes),
            Self::Task(task) => task.write(bytes),
            Self::Standard(out) => out.write(bytes),
            Self::Nowhere { .. } => Ok(bytes.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            // What a pipe took is with the program.
            Self::Program(_) | Self::Task(_) | Self::Nowhere { .. } => Ok(()),
            Self::Standard(out) => out.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to_script(text: &str) -> Output {
        Output::to_program(&["sh", "-c", text].map(str::to_owned), Vec::new())
    }

    #[test]
    fn what_a_program_beside_a_report_writes_is_not_in_the_report() {
        let script = ["sh", "-c", "cat >/dev/null; test /proc/self/fd/1 -ef /proc/self/fd/2"].map(str::to_owned);
        let mut output = Output::to_program_beside_report(&script, Vec::new());
        output.write_all(b"x").expect("is taken");
        output.finish().expect("both are our standard error");
    }

    #[test]
    fn a_program_gets_all_and_its_failure_is_seen() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let got = dir.path().join("got");
        let mut output = to_script(&format!("cat > {}", got.display()));
        output.write_all(b"all of it").expect("is taken");
        output.finish().expect("succeeds");
        assert_eq!(std::fs::read(&got).expect("was written"), b"all of it");
        let mut output = to_script("cat >/dev/null; exit 5");
        output.write_all(b"all of it").expect("is taken");
        let error = output.finish().expect_err("fails");
        assert!(error.to_string().contains("got all of the stream") && error.to_string().contains('5'), "{error:#}");
        to_script("exit 0").finish().expect("an empty stream is a stream");
    }

    #[test]
    fn a_program_that_is_cut_off_never_sees_an_end() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let (got, end) = (dir.path().join("got"), dir.path().join("end"));
        let text = format!("trap '' TERM HUP INT; cat > {}; touch {}", got.display(), end.display());
        let mut output = to_script(&text);
        output.write_all(b"half of it").expect("is taken");
        while std::fs::read(&got).unwrap_or_default() != b"half of it" {
            std::thread::yield_now();
        }
        output.cut_off();
        assert!(!end.exists());
    }

    #[test]
    fn a_program_that_takes_nothing_can_be_stopped() {
        let mut output = to_script("sleep 1000");
        let stopper = output.stopper();
        let writes = std::thread::spawn(move || output.write_all(&vec![0; 1 << 20]));
        while !stopper.has_target() {
            std::thread::yield_now();
        }
        stopper.stop();
        writes.join().expect("no panic").expect_err("the program is gone");
        let mut late = to_script("touch /nowhere");
        late.stopper().stop();
        late.write_all(b"x").expect_err("does not start");
    }
}

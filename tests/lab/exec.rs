//! Commands and files inside a host.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::Write,
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        atomic::Ordering,
        mpsc::{self, RecvTimeoutError},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};

use super::{Host, read, wait_for, wake};
use crate::tree::capture;

/// Limit after which a command counts as hung and is killed. It is generous: a slow machine must not fail a test.
const COMMAND_LIMIT: Duration = Duration::from_secs(300);

const BETWEEN_WAKES: Duration = Duration::from_secs(1);

const UNDER_TEST: &str = "swarmdr-agent";

/// Prefix of the word that asks the program under test for a fault: a variable in the arguments of `env`.
const FAULT: &str = "SWARMDRTEST_FAULT=";

/// Environment of a root shell; no variable of this process is passed on.
const ENVIRONMENT: [&str; 3] =
    ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8"];

/// A program of this machine.
#[derive(Debug, Clone)]
pub struct Program {
    pub path: PathBuf,
    /// Whether it was built with failpoints; the shipped program has none.
    pub has_faults: bool,
}

/// Exit status and output of a command.
#[derive(Debug, Clone)]
pub struct Output {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Host {
    /// Runs a command in the host and waits until it ends. It has root's environment and no input, and is killed
    /// (SIGKILL) after five minutes. An exit code other than 0 is no error of this function.
    pub fn run<S: AsRef<OsStr>>(&self, words: &[S]) -> Result<Output> {
        self.run_with_input(words, &[])
    }

    /// Like [`Host::run`], with these bytes as standard input.
    pub fn run_with_input<S: AsRef<OsStr>>(&self, words: &[S], input: &[u8]) -> Result<Output> {
        self.check_faults(words)?;
        let limit = format!("{}", COMMAND_LIMIT.as_secs());
        let mut command = self.enter()?;
        command.args(["timeout", "--signal=KILL", &limit]).args(words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("failed to enter {}", self.name()))?;
        let mut stdin = child.stdin.take().expect("it is piped");
        let (pid, (ended, not_yet)) = (child.id(), mpsc::channel::<()>());
        let output = std::thread::scope(|scope| {
            // The write fails if the command closes its input without reading it, which is no error.
            scope.spawn(move || stdin.write_all(input));
            scope.spawn(move || {
                while not_yet.recv_timeout(BETWEEN_WAKES) == Err(RecvTimeoutError::Timeout) {
                    wake::if_stopped(pid);
                }
            });
            let output = child.wait_with_output();
            drop(ended);
            output
        })?;
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        Ok(Output { status: output.status, stdout: text(&output.stdout), stderr: text(&output.stderr) })
    }

    /// Runs a script by `sh -eu` and returns what it printed, without the newline at the end. An exit code other than 0
    /// is an error that carries its standard error.
    pub fn sh(&self, script: &str) -> Result<String> {
        self.succeed(&["sh", "-euc", script], &[])
    }

    /// Runs the docker client in the host, like [`Host::sh`].
    pub fn docker(&self, args: &[&str]) -> Result<String> {
        self.succeed(&[&["docker"], args].concat(), &[])
    }

    pub(super) fn succeed(&self, words: &[&str], input: &[u8]) -> Result<String> {
        let output = self.run_with_input(words, input)?;
        if !output.status.success() {
            bail!(
                "{}: `{}` ended with {}: {}{}",
                self.name(),
                words.join(" "),
                output.status,
                output.stdout,
                output.stderr.trim_end()
            );
        }
        Ok(output.stdout.trim_end().to_owned())
    }

    /// Starts a command in the host and returns without waiting for its end. Dropping the value kills it.
    pub fn spawn<S: AsRef<OsStr>>(&self, words: &[S]) -> Result<Background> {
        self.check_faults(words)?;
        let number = self.commands.fetch_add(1, Ordering::Relaxed);
        let file = |end| self.disk().join(format!("command-{number}.{end}"));
        let (stdout, stderr) = (file("out"), file("err"));
        let pid_file = format!("/run/lab-command-{number}.pid");
        let mut command = self.enter()?;
        command
            // `$$` stays the process id through exec.
            .args(["sh", "-c", r#"echo $$ >"$0.new"; mv "$0.new" "$0"; exec "$@""#, &pid_file])
            .args(words)
            .stdin(Stdio::null())
            .stdout(File::create(&stdout)?)
            .stderr(File::create(&stderr)?);
        let child = command.spawn().with_context(|| format!("failed to enter {}", self.name()))?;
        let mut background = Background { child, init: self.init()?, pid: None, stdout, stderr };
        let pid = wait_for("a command to start", Duration::from_secs(30), || {
            Ok(Some(self.sh(&format!("cat {pid_file}"))?.parse()?))
        })?;
        background.pid = Some(pid);
        Ok(background)
    }

    /// Writes a file with mode 644 in the host, and creates the directories above it.
    pub fn write_file(&self, path: &str, content: impl AsRef<[u8]>) -> Result<()> {
        let words = ["install", "-D", "-m", "644", "/dev/stdin", path];
        self.succeed(&words, content.as_ref()).map(drop)
    }

    pub fn read_file(&self, path: &str) -> Result<String> {
        self.succeed(&["cat", path], &[])
    }

    /// Puts a program of this machine into the host's /usr/bin, under its own name.
    pub fn install(&self, program: &Program) -> Result<()> {
        let Program { path, has_faults } = program;
        let name = path.file_name().with_context(|| format!("{} names no file", path.display()))?;
        let content = fs::read(path).with_context(|| format!("failed to read {}", path.display()))?;
        let target = format!("/usr/bin/{}", name.to_string_lossy());
        self.succeed(&["install", "-m", "755", "/dev/stdin", &target], &content)?;
        fs::write(self.fault_note(), has_faults.to_string()).context("failed to note whether the program has faults")
    }

    fn fault_note(&self) -> PathBuf {
        self.disk().join("has-faults")
    }

    /// Fails if a command asks the agent for a fault and the installed agent has no failpoints. Without this check the
    /// test would fail far from the cause, and only in runs that test the shipped program.
    fn check_faults<S: AsRef<OsStr>>(&self, words: &[S]) -> Result<()> {
        let words = || words.iter().map(|word| word.as_ref().to_string_lossy());
        let asks = words().any(|word| word.strip_prefix(FAULT).is_some_and(|fault| !fault.is_empty()));
        if asks && words().any(|word| word == UNDER_TEST) {
            let noted = fs::read_to_string(self.fault_note()).unwrap_or_default();
            ensure!(noted == "true", "the agent on {} was installed as it is shipped, without faults", self.name());
        }
        Ok(())
    }

    /// Returns the command line up to the words of the command. It joins the host's own cgroup first, so that a power
    /// cut kills the command too and systemd sees a process of its own; then the namespaces and the root of the host's
    /// PID 1.
    fn enter(&self) -> Result<Command> {
        let mut command = Command::new("sh");
        command
            .args(["-euc", r#"echo 0 >"$0/cgroup.procs"; exec nsenter "$@""#])
            .arg(self.init_scope()?)
            .arg(format!("--target={}", self.init()?))
            .args(["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd"])
            .args(["env", "-i"])
            .args(ENVIRONMENT)
            .process_group(0);
        Ok(command)
    }
}

/// A command that runs in a host.
#[derive(Debug)]
pub struct Background {
    child: Child,
    init: u32,
    pid: Option<u32>,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Background {
    /// Process id inside the host.
    pub fn pid(&self) -> u32 {
        self.pid.expect("it is known before anybody has the value")
    }

    /// Standard output so far.
    pub fn stdout(&self) -> Result<String> {
        read(&self.stdout)
    }

    pub fn stderr(&self) -> Result<String> {
        read(&self.stderr)
    }

    /// Sends a signal, named without SIG. Fails if the command has ended.
    pub fn signal(&self, signal: &str) -> Result<()> {
        let pid = self.pid().to_string();
        let target = format!("--target={}", self.init);
        capture(Command::new("nsenter").args([&target, "--pid", "kill", "-s", signal, &pid])).map(drop)
    }

    /// Returns the exit status and output if the command has ended, otherwise `None`.
    pub fn finished(&mut self) -> Result<Option<Output>> {
        let Some(status) = self.child.try_wait()? else {
            wake::if_stopped(self.child.id());
            return Ok(None);
        };
        Ok(Some(Output { status, stdout: self.stdout()?, stderr: self.stderr()? }))
    }

    /// Waits until the command ends. Fails when the limit is exceeded, and kills the command.
    pub fn wait(mut self, limit: Duration) -> Result<Output> {
        wait_for("a command to end", limit, || self.finished())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) && self.pid.is_some() {
            // It may end on its own in between; nsenter ends with it either way.
            let _ = self.signal("KILL");
            let _ = wait_for("a killed command to end", Duration::from_secs(30), || self.finished());
        }
    }
}

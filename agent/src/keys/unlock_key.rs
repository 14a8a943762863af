//! Sources of the unlock key of an autolocked swarm: a file (or the systemd credential that replaces it), or a command.
//! The key is never passed as an argument and never logged.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use swarm_state::UnlockKey;
use zeroize::Zeroizing;

use crate::{
    config::{Config, RestoreConfig},
    host::engine::unlock::RunningKey,
    outcome::failure::Failure,
};

/// Unlock key that was given for this run. `Debug` does not show it.
#[derive(Clone)]
pub struct GivenKey {
    text: Zeroizing<String>,
    key: UnlockKey,
}

/// Source of an unlock key.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    File(PathBuf),
    Command(Vec<String>),
}

impl GivenKey {
    /// Reads the key from the first source that is set: the file of the flag, the configured file, the configured
    /// command. Returns `None` if none is set. A source that is set but gives no key is an error.
    pub fn find(flag: Option<&Path>, config: &Config) -> Result<Option<Self>> {
        let Some(place) = place(flag, &config.restore) else { return Ok(None) };
        place.read(config.proxies_for_children()?).map(Some)
    }

    /// Returns the key in the form that opens a state on disk.
    pub fn for_state(&self) -> &UnlockKey {
        &self.key
    }

    /// Returns the key in the form that unlocks a running engine.
    pub fn for_engine(&self) -> RunningKey {
        RunningKey::given(&self.text)
    }
}

impl fmt::Debug for GivenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GivenKey(..)")
    }
}

fn place(flag: Option<&Path>, config: &RestoreConfig) -> Option<Place> {
    let file = flag.or(config.unlock_key_file.as_deref()).map(|path| Place::File(path.to_owned()));
    let command = || (!config.unlock_key_command.is_empty()).then(|| Place::Command(config.unlock_key_command.clone()));
    file.or_else(command)
}

impl Place {
    /// Reads the key. `environment` is added to the command's environment, which otherwise is that of this process.
    fn read(&self, environment: Vec<(&'static str, String)>) -> Result<GivenKey> {
        let text = match self {
            Place::File(path) => fs::read_to_string(path).map(Zeroizing::new).map_err(anyhow::Error::new),
            Place::Command(words) => run(words, environment),
        };
        let key =
            text.and_then(|text| Ok(GivenKey { key: text.parse()?, text: Zeroizing::new(text.trim().to_owned()) }));
        key.map_err(|cause| {
            Failure::usage(format!("{self} gives no unlock key that can be used"))
                .advice(
                    "it must give what `docker swarm unlock-key -q` prints; a file should be readable for root only",
                )
                .because(cause)
                .into()
        })
    }
}

/// Runs the command that prints the key. Its output is the key, so only its standard error is ever shown.
fn run(words: &[String], environment: Vec<(&'static str, String)>) -> Result<Zeroizing<String>> {
    let (program, arguments) = words.split_first().context("it is empty")?;
    let output = Command::new(program).args(arguments).envs(environment).output();
    let output = output.with_context(|| format!("failed to run {program}"))?;
    let stdout = Zeroizing::new(output.stdout);
    ensure!(
        output.status.success(),
        "{program} ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim_end()
    );
    Ok(Zeroizing::new(std::str::from_utf8(&stdout).context("it prints no text")?.to_owned()))
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File(path) => path.display().fmt(f),
            Place::Command(words) => write!(f, "`{}`", words.first().map_or("", String::as_str)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{exit::Exit, failure::Rendered};
    use swarm_state::testkit::key_file::UNLOCK_KEY;

    #[test]
    fn the_nearest_place_is_asked() {
        let mut config = RestoreConfig::default();
        assert_eq!(place(None, &config), None);
        config.unlock_key_command = vec!["cat".to_owned()];
        assert_eq!(place(None, &config), Some(Place::Command(vec!["cat".to_owned()])));
        config.unlock_key_file = Some("/configured".into());
        assert_eq!(place(None, &config), Some(Place::File("/configured".into())));
        assert_eq!(place(Some(Path::new("/flag")), &config), Some(Place::File("/flag".into())));
    }

    #[test]
    fn a_file_and_a_command_give_the_key_and_what_they_give_is_never_shown() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let path = dir.path().join("key");
        fs::write(&path, format!("{UNLOCK_KEY}\n")).expect("writes");
        let words = |script: &str| Place::Command(["sh", "-c", script].map(str::to_owned).to_vec());
        for good in [Place::File(path.clone()), words(&format!("cat {}", path.display()))] {
            let key = good.read(Vec::new()).expect("gives the key");
            assert!(!format!("{key:?}{:?}", key.for_engine()).contains("Bwc"), "{key:?}");
        }
        fs::write(&path, "SWMKEY-1-planted").expect("writes");
        for bad in [
            Place::File(path.clone()),
            Place::File(dir.path().join("nothing")),
            words("echo SWMKEY-1-planted"),
            words("echo SWMKEY-1-planted; echo no >&2; exit 3"),
            Place::Command(vec!["/no/such/program".to_owned()]),
        ] {
            let rendered = Rendered::of(&bad.read(Vec::new()).expect_err("gives none"));
            assert_eq!(rendered.exit, Exit::Usage, "{rendered}");
            assert!(!rendered.to_string().contains("planted"), "{rendered}");
        }
    }
}

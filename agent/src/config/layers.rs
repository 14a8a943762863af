//! Layers of the configuration, and which of them set a value.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    fs, io,
    path::{self, Path, PathBuf},
};

use anyhow::{Context, Result};
use figment::{
    Figment, Source,
    providers::{Format, Serialized, Toml},
    value::Value,
};
use serde::Serialize;
use swarmdr_http::Proxies;

use super::Config;
use crate::{config::schedule, outcome::failure::Failure};

/// Prefix of variables that set a key. After it, two underscores stand for a dot; single ones are part of keys.
const ENV_PREFIX: &str = "SWARMDR_";

/// Variables with the same prefix that are read before the configuration is, and set no key.
const NOT_KEYS: [&str; 2] = ["log", "config"];

/// Start of the variables with facts for a hook. They set no key: a hook may call the agent in this environment.
const HOOK_FACTS: &str = "hook_";

/// Credentials that a unit gets with `LoadCredential=`, and the keys that they set (systemd.exec(5)).
pub(crate) const CREDENTIALS: [(&str, &str); 5] = [
    ("swarmdr.join-token", "join.token_file"),
    ("swarmdr.proxy-login", "network.proxy_login_file"),
    ("swarmdr.signing-key", "signing_key"),
    ("swarmdr.identity", "identity_file"),
    ("swarmdr.unlock-key", "restore.unlock_key_file"),
];

/// Places that the configuration is read from. All of them are parameters, so that a test can set its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sources {
    /// The main file; may be absent unless `explicit`.
    pub file: PathBuf,
    /// The directory of its drop-ins, `*.toml` in order of name; may be absent.
    pub drop_ins: PathBuf,
    /// Whether the user named the file; then it must exist, and no drop-ins are read.
    pub explicit: bool,
    /// Environment variables: those with the agent's prefix, `CREDENTIALS_DIRECTORY`, and those of proxies are used.
    pub environment: Vec<(String, String)>,
}

impl Sources {
    /// Sources of an installed agent, with the environment of this process.
    pub fn installed() -> Self {
        Self {
            file: "/etc/swarmdr/agent.toml".into(),
            drop_ins: "/etc/swarmdr/agent.d".into(),
            explicit: false,
            environment: std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
                .collect(),
        }
    }

    /// Replaces the installed files with one file that must exist.
    #[must_use]
    pub fn with_file(self, file: impl Into<PathBuf>) -> Self {
        Self { file: file.into(), drop_ins: PathBuf::new(), explicit: true, ..self }
    }

    /// Keys that the environment sets, with the variable and its value.
    fn variables(&self) -> BTreeMap<String, (&str, &str)> {
        let named = self.environment.iter().filter_map(|(name, value)| {
            let key = name.strip_prefix(ENV_PREFIX)?.to_lowercase().replace("__", ".");
            let is_key = !NOT_KEYS.contains(&key.as_str()) && !key.starts_with(HOOK_FACTS);
            is_key.then_some((key, (name.as_str(), value.as_str())))
        });
        named.collect()
    }

    /// Keys that a credential of the unit sets, with the credential's name and path.
    fn credentials(&self) -> Vec<(&'static str, &'static str, PathBuf)> {
        let directory = self.environment.iter().find(|(name, _)| name == "CREDENTIALS_DIRECTORY");
        let Some((_, directory)) = directory else { return Vec::new() };
        let handed_over = CREDENTIALS.iter().map(|&(name, key)| (key, name, Path::new(directory).join(name)));
        handed_over.filter(|(_, _, path)| path.exists()).collect()
    }

    fn files(&self) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        if self.file.exists() {
            files.push(self.file.clone());
        } else if self.explicit {
            return Err(Failure::usage(format!("the configuration file {} does not exist", self.file.display())).into());
        }
        if !self.explicit {
            files.extend(drop_ins(&self.drop_ins)?);
        }
        Ok(files)
    }
}

fn drop_ins(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(|| format!("failed to list the drop-ins in {}", directory.display()))?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The settings in force, and where they came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub config: Config,
    /// The files that were read, in rising precedence.
    pub files: Vec<PathBuf>,
    /// The file that was named in the place of the installed ones, as an absolute path.
    pub named: Option<PathBuf>,
    /// Keys that a variable or a credential set, and what they were set by.
    variables: BTreeMap<String, String>,
    layers: Figment,
}

/// One setting in force and the layer that set it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Origin {
    /// Dotted path, as in the file.
    pub key: String,
    pub value: serde_json::Value,
    /// `default`, a file's path, a credential or an environment variable.
    pub origin: String,
}

impl Loaded {
    /// Returns the same with other settings, which a verb made of these.
    pub fn with(&self, config: Config) -> Self {
        Self { config, ..self.clone() }
    }

    /// Reads, merges and checks all layers; nothing is created.
    pub fn read(sources: &Sources) -> Result<Self> {
        let files = sources.files()?;
        let named = sources.explicit.then(|| path::absolute(&sources.file)).transpose()?;
        let mut layers = Figment::from(Serialized::defaults(Config::default()));
        for file in &files {
            let text = fs::read_to_string(file).with_context(|| format!("failed to read {}", file.display()))?;
            check_file(file, &text)?;
            layers = layers.merge(Toml::file_exact(file));
        }
        let mut variables = BTreeMap::new();
        for (key, name, path) in sources.credentials() {
            layers = layers.merge(Serialized::default(key, path));
            variables.insert(key.to_owned(), format!("credential {name}"));
        }
        for (key, (name, value)) in sources.variables() {
            let value: Value = value.parse().unwrap_or_else(|never: Infallible| match never {});
            layers = layers.merge(Serialized::default(&key, value));
            variables.insert(key, name.to_owned());
        }
        let mut config: Config = layers.extract().map_err(|error| explain(&error, &variables))?;
        config.inherited_proxies = Proxies::of_environment(&sources.environment);
        config.validate()?;
        Ok(Self { config, files, named, variables, layers })
    }

    /// Every leaf of the settings in force, in the order of the keys.
    pub fn origins(&self) -> Result<Vec<Origin>> {
        let mut config = self.config.clone();
        // Where it is not set, the default schedule is in force.
        config.schedule.cron.get_or_insert_with(|| schedule::DEFAULT.to_owned());
        let value = serde_json::to_value(&config)?;
        let mut origins = Vec::new();
        flatten(String::new(), &value, &mut |key, value| {
            origins.push(Origin { origin: self.origin_of(&key), key, value: value.clone() });
        });
        Ok(origins)
    }

    fn origin_of(&self, key: &str) -> String {
        let by_variable = self.variables.iter().find(|(set, _)| key == *set || key.starts_with(&format!("{set}.")));
        if let Some((_, name)) = by_variable {
            return name.clone();
        }
        match self.layers.find_metadata(key).and_then(|metadata| metadata.source.as_ref()) {
            Some(Source::File(path)) => path.display().to_string(),
            _ => "default".to_owned(),
        }
    }
}

/// Checks a file by itself, for an error with its line and without the noise of merged layers.
fn check_file(file: &Path, text: &str) -> Result<()> {
    match toml::from_str::<Config>(text) {
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::usage(format!("cannot use the configuration file {}", file.display()))
            .advice("the shipped agent.toml lists every key with its meaning")
            .because(anyhow::Error::msg(one_line(&error, text)))
            .into()),
    }
}

/// Renders on one line what the parser draws on several.
fn one_line(error: &toml::de::Error, text: &str) -> String {
    let before = error.span().and_then(|span| text.get(..span.start));
    let number = before.map_or(0, |before| before.matches('\n').count());
    let message = error.message().trim_end();
    match text.lines().nth(number) {
        Some(line) if before.is_some() => format!("line {}, `{}`: {message}", number + 1, line.trim()),
        _ => message.to_owned(),
    }
}

/// Explains an error in the merged layers. Each file was checked by itself before, so the cause is a variable.
fn explain(error: &figment::Error, variables: &BTreeMap<String, String>) -> anyhow::Error {
    let key = error.path.join(".");
    let guilty = variables.iter().find(|(set, _)| key.starts_with(*set) || set.starts_with(&key));
    let place = guilty.map_or("the environment", |(_, name)| name.as_str());
    Failure::usage(format!("cannot use the configuration from {place}"))
        .because(anyhow::anyhow!("{key}: {}", error.kind))
        .into()
}

pub(super) fn flatten(key: String, value: &serde_json::Value, leaf: &mut impl FnMut(String, &serde_json::Value)) {
    match value {
        serde_json::Value::Object(map) if !map.is_empty() => {
            for (name, value) in map {
                let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                flatten(key, value, leaf);
            }
        }
        value => leaf(key, value),
    }
}

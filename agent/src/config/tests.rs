//! Tests of the layers and their rules, and that the shipped file is complete and correct.

use super::*;
use crate::outcome::{exit::Exit, failure::Rendered};

const SHIPPED: &str = include_str!("../../../packaging/agent.toml");

fn write(dir: &tempfile::TempDir, name: &str, text: &str) -> PathBuf {
    let path = dir.path().join(name);
    std::fs::create_dir_all(path.parent().expect("has a parent")).expect("creates");
    std::fs::write(&path, text).expect("writes");
    path
}

/// Sources with one file and no environment.
fn only(file: PathBuf) -> Sources {
    Sources { file, drop_ins: PathBuf::new(), explicit: true, environment: Vec::new() }
}

fn refused(text: &str) -> Rendered {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let error = Loaded::read(&only(write(&dir, "agent.toml", text))).expect_err(text);
    let rendered = Rendered::of(&error);
    assert_eq!(rendered.exit, Exit::Usage, "{rendered}");
    rendered
}

/// The shipped file with every setting switched on.
fn shipped_in_force() -> String {
    let uncomment = |line: &str| match line.strip_prefix('#') {
        Some(rest) if !rest.starts_with(' ') && !rest.is_empty() => rest.to_owned(),
        _ => line.to_owned(),
    };
    SHIPPED.lines().map(uncomment).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_shipped_file_as_it_is_changes_nothing() {
    let config: Config = toml::from_str(SHIPPED).expect("is valid");
    assert_eq!(config, Config::default());
}

/// Sections that can be repeated.
const SECTIONS: [&str; 4] = ["vault", "images.registry", "stream", "external"];

#[test]
fn the_shipped_file_has_every_key_and_states_the_defaults() {
    let table: toml::Table = shipped_in_force().parse().expect("is valid TOML with all settings on");
    let config: Config = table.clone().try_into().expect("knows every key");
    config.vault[0].target().expect("the example of a vault is valid");
    let defaults = serde_json::to_value(Config::default()).expect("serialises");
    let shipped = serde_json::to_value(&table).expect("serialises");
    let mut missing = Vec::new();
    super::layers::flatten(String::new(), &defaults, &mut |key, default| {
        let pointer = format!("/{}", key.replace('.', "/"));
        match shipped.pointer(&pointer) {
            None => missing.push(key),
            // A null default is "not set", for which the file shows an example; so is an empty list of sections.
            Some(shown) if !default.is_null() && !SECTIONS.contains(&key.as_str()) => {
                assert_eq!(shown, default, "{key}");
            }
            Some(_) => {}
        }
    });
    assert!(missing.is_empty(), "the shipped file lacks {missing:?}");
}

#[test]
fn later_layers_win_and_are_named() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let file = write(&dir, "agent.toml", "[backup]\ncompression_level = 5\nallow_quorum_loss = true\n");
    let drop_in = write(&dir, "agent.d/10-fast.toml", "[backup]\ncompression_level = 1\n");
    write(&dir, "agent.d/notes.txt", "not a drop-in");
    let environment = [("SWARMDR_ENGINE__STOP_TIMEOUT", "30"), ("SWARMDR_LOG", "debug"), ("HOME", "/root")];
    let sources = Sources {
        file: file.clone(),
        drop_ins: dir.path().join("agent.d"),
        explicit: false,
        environment: environment.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
    };
    let loaded = Loaded::read(&sources).expect("is valid");
    assert_eq!(loaded.config.backup.compression_level, 1);
    assert!(loaded.config.backup.allow_quorum_loss);
    let origins = loaded.origins().expect("lists");
    let origin = |key: &str| origins.iter().find(|origin| origin.key == key).expect(key).origin.clone();
    assert_eq!(origin("backup.compression_level"), drop_in.display().to_string());
    assert_eq!(origin("backup.allow_quorum_loss"), file.display().to_string());
    assert_eq!(origin("engine.service"), "default");
    assert_eq!(loaded.config.engine.stop_timeout, Seconds::new(30));
    assert_eq!(origin("engine.stop_timeout"), "SWARMDR_ENGINE__STOP_TIMEOUT");
}

#[test]
fn lengths_of_time_are_read_with_a_unit_and_shown_without() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let text = "[backup]\nmax_pause = \"2m\"\nmax_freeze_ms = \"1s\"\n[drill]\nmax_age_days = \"2w\"\n\
                [schedule]\ntakeover_after = 5\n[[vault]]\nurl = \"s3://bucket\"\nlock = { days = \"4w\" }\n";
    let environment = vec![("SWARMDR_WATCH__GRACE".to_owned(), "1h 30m".to_owned())];
    let file = write(&dir, "agent.toml", &format!("encryption = \"none\"\n{text}"));
    let loaded = Loaded::read(&Sources { environment, ..only(file) }).expect("is valid");
    assert_eq!(loaded.config.backup.max_pause.duration(), std::time::Duration::from_secs(120));
    let origins = loaded.origins().expect("lists");
    for (key, shown) in [
        ("backup.max_pause", 120),
        ("backup.max_freeze_ms", 1000),
        ("drill.max_age_days", 14),
        ("schedule.takeover_after", 5),
        ("watch.grace", 5400),
        ("engine.start_timeout", 120),
    ] {
        let origin = origins.iter().find(|origin| origin.key == key).expect(key);
        assert_eq!(origin.value, serde_json::json!(shown), "{key}");
    }
    assert_eq!(loaded.config.vault[0].lock.expect("was given").days, 28);
}

#[test]
fn the_schedule_is_shown_whether_or_not_somebody_chose_it() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    for (text, value, by_default) in [
        ("", "30 3 * * *", true),
        ("[schedule]\ntimezone = \"UTC\"\n", "30 3 * * *", true),
        ("[schedule]\ncron = \"0 5 * * *\"\n", "0 5 * * *", false),
        ("[schedule]\ncron = \"off\"\n", "off", false),
    ] {
        let file = write(&dir, "agent.toml", text);
        let origins = Loaded::read(&only(file.clone())).expect("is valid").origins().expect("lists");
        let cron = origins.iter().find(|origin| origin.key == "schedule.cron").expect("is listed");
        let origin = if by_default { "default".to_owned() } else { file.display().to_string() };
        assert_eq!((&cron.value, &cron.origin), (&serde_json::json!(value), &origin), "{text}");
    }
}

#[test]
fn no_file_at_all_is_fine() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let sources = Sources {
        file: dir.path().join("agent.toml"),
        drop_ins: dir.path().join("agent.d"),
        explicit: false,
        environment: Vec::new(),
    };
    let loaded = Loaded::read(&sources).expect("defaults");
    assert_eq!(loaded.config, Config::default());
    assert_eq!(loaded.config.vaults()[0].url, "file:///var/lib/swarmdr/vault");
    let missing = Loaded::read(&only(dir.path().join("agent.toml"))).expect_err("was named");
    assert_eq!(Rendered::of(&missing).exit, Exit::Usage);
}

#[test]
fn mistakes_name_the_place_and_the_key() {
    for (text, said) in [
        ("recipient = []", "unknown field `recipient`"),
        ("[backup]\nmode = \"hot\"", "unknown variant `hot`"),
        ("[backup]\nmode = \"hot\"", "line 2, `mode = \"hot\"`: "),
        ("[engine]\nstop_timeout = -1", "line 2, `stop_timeout = -1`: `-1` cannot be used: it cannot be negative"),
        ("[watch]\ngrace = \"500ms\"", "`500ms` cannot be used: it is not a whole number of seconds"),
        ("[drill]\nmax_age_days = \"12h\"", "`12h` cannot be used: it is not a whole number of days"),
        ("[backup]\nmax_pause = \"0s\"", "backup.max_pause is 0 s; write 5 to 3600"),
        ("[backup]\nmax_pause = \"2h\"", "backup.max_pause is 7200 s; write 5 to 3600"),
        ("[backup]\nmax_freeze_ms = \"1m\"", "backup.max_freeze_ms is 60000; write 50 to 2000"),
        ("[spool]\npatience = 4294967296", "the most is 4294967295 seconds"),
        ("[backup", "line 1, `[backup`: "),
        ("[backup]\ncompression_level = 0", "backup.compression_level is 0"),
        ("[spool]\nmax_count = 0", "spool.max_count is 0"),
        ("[watch]\nping_url = \"ftp://x\"", "watch.ping_url"),
        ("[watch]\ntextfile_dir = \"here\"", "the path `here` in the configuration is not absolute"),
        ("state_dir = \"here\"", "the path `here` in the configuration is not absolute"),
        ("[schedule]\ncron = \"30 3 * * 1\"", "day of the week is a number"),
        ("[schedule]\ncron = \"30 3 * * *\"\ntimezone = \"Mars/Olympus\"", "Mars/Olympus"),
        ("[[vault]]\nurl = \"ftp://x\"", "ftp://x"),
        ("encryption = \"age\"", "recipients is empty"),
        ("[[vault]]\nurl = \"s3://bucket/p\"", "no recipients are named"),
    ] {
        let rendered = refused(text);
        assert!(rendered.to_string().contains(said), "`{text}` should say `{said}`: {rendered}");
    }
    assert!(refused("x = 1").to_string().contains("agent.toml"));
}

#[test]
fn a_wrong_variable_is_named() {
    for (name, value, said) in [
        ("SWARMDR_RECIPIENT", "age1", "unknown field"),
        ("SWARMDR_BACKUP__MODE", "hot", "unknown variant"),
        (
            "SWARMDR_ENGINE__STOP_TIMEOUT",
            "soon",
            "engine.stop_timeout: `soon` cannot be used: write a number and a unit",
        ),
    ] {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let environment = vec![(name.to_owned(), value.to_owned())];
        let sources = Sources { environment, ..only(write(&dir, "agent.toml", "")) };
        let rendered = Rendered::of(&Loaded::read(&sources).expect_err(name));
        assert_eq!(rendered.exit, Exit::Usage);
        assert!(rendered.what.contains(name), "should name {name}: {rendered}");
        assert!(rendered.to_string().contains(said), "should say {said}: {rendered}");
    }
}

#[test]
fn a_credential_of_the_unit_stands_for_the_file_of_its_key() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let file = write(&dir, "agent.toml", "signing_key = \"/etc/swarmdr/signing.key\"\n");
    let handed_over = write(&dir, "credentials/swarmdr.signing-key", "secret");
    let directory = dir.path().join("credentials").display().to_string();
    let sources = Sources { environment: vec![("CREDENTIALS_DIRECTORY".to_owned(), directory)], ..only(file) };
    let loaded = Loaded::read(&sources).expect("reads");
    assert_eq!(loaded.config.signing_key, Some(handed_over));
    assert_eq!(loaded.config.identity_file, None, "there is no such credential");
    let origins = loaded.origins().expect("lists");
    let origin = origins.iter().find(|origin| origin.key == "signing_key").expect("is listed");
    assert_eq!(origin.origin, "credential swarmdr.signing-key");
}

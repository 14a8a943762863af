//! The settings of a second engine's unit: its isolation, line by line.

use std::{
    net::IpAddr,
    os::fd::BorrowedFd,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use zbus::{Fd, Variant};

use super::{PREFIX, Spec};
use crate::{host::systemd::Setting, outcome::program::PROGRAM};

/// Longest time that the unit runs, in case the keeper hangs.
const LONGEST_RUN_MICROS: u64 = 6 * 3600 * 1_000_000;

/// Longest path of the run directory, in bytes: `sun_path` holds 107, and the longest name that an engine puts below
/// its exec-root has 42.
const LONGEST_RUN_DIR: usize = 60;

/// Program, arguments from the program's name on, and whether a failure is ignored.
type Exec = (String, Vec<String>, bool);

/// The directories of one second engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// The directory of all second engines.
    pub home: PathBuf,
    /// The engine's data root, on disk, in a directory of its own.
    pub data: PathBuf,
    /// The directory of the engine's sockets, in memory; systemd removes it with the unit.
    pub run: PathBuf,
}

impl Places {
    pub fn new(home: &Path, tag: &str) -> Result<Self> {
        let is_plain = tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let run = Path::new("/run").join(format!("{PREFIX}{tag}"));
        if tag.is_empty() || !is_plain || run.as_os_str().len() > LONGEST_RUN_DIR {
            bail!("`{tag}` cannot be part of a unit's name and of a socket's path");
        }
        Ok(Self { home: home.to_owned(), data: home.join(tag).join("data"), run })
    }

    pub fn socket(&self) -> PathBuf {
        self.run.join("docker.sock")
    }
}

/// Returns the unit's settings; `lifeline` becomes the keeper's standard input.
pub fn settings<'a>(
    places: &Places,
    spec: &Spec,
    agent: &Path,
    dockerd: &Path,
    lifeline: BorrowedFd<'a>,
) -> Result<Vec<Setting<'a>>> {
    let text =
        |path: &Path| path.to_str().map(str::to_owned).with_context(|| format!("{} is no UTF-8", path.display()));
    let (home, own) = (text(&places.home)?, text(places.data.parent().context("it has no parent")?)?);
    let run_name = places.run.file_name().and_then(|name| name.to_str()).context("it has no name")?.to_owned();
    let mut hidden: Vec<String> = HIDDEN.iter().map(|path| format!("-{path}")).collect();
    let covered: Vec<(String, String)> =
        COVERED.iter().map(|path| ((*path).to_owned(), "mode=0755".to_owned())).collect();
    for path in &spec.hidden {
        hidden.push(format!("-{}", text(path)?));
    }
    let making = vec![exec(&["mkdir", "-p", "-m", "0700", &home, &own])];
    let addresses = spec.addresses.iter().map(|address| exec(&add_address(*address)));
    let mut settings = vec![
        ("Description", "A second engine, for a backup of a swarm".into()),
        ("Type", "exec".into()),
        ("ExecStartPre", Variant::new(making.into_iter().chain(addresses).collect::<Vec<Exec>>())),
        ("ExecStart", Variant::new(vec![keeper(places, agent, dockerd)?])),
        // This runs after a keeper that was killed too.
        ("ExecStopPost", Variant::new(vec![exec(&["rm", "-rf", "--one-file-system", &own])])),
        ("StandardInputFileDescriptor", Variant::Fd(Fd::from(lifeline))),
        ("RuntimeDirectory", Variant::new(vec![run_name])),
        ("RuntimeDirectoryMode", 0o700_u32.into()),
    ];
    settings.extend(isolation(&home, hidden, covered));
    settings.extend(end_and_weight());
    Ok(settings)
}

/// Settings by which nothing outside can be reached, and nothing of the host can be seen.
fn isolation<'a>(home: &str, hidden: Vec<String>, covered: Vec<(String, String)>) -> [Setting<'a>; 17] {
    [
        ("PrivateNetwork", true.into()),
        ("ProtectSystem", "strict".into()),
        ("ProtectHome", "read-only".into()),
        ("PrivateTmp", true.into()),
        ("PrivateDevices", true.into()),
        ("ReadWritePaths", Variant::new(vec![parent_of(home)])),
        ("InaccessiblePaths", Variant::new(hidden)),
        ("TemporaryFileSystem", Variant::new(covered)),
        // Only containers need cgroups, and there are none.
        ("ProtectControlGroups", true.into()),
        ("ProtectKernelModules", true.into()),
        ("ProtectKernelLogs", true.into()),
        ("ProtectClock", true.into()),
        ("ProtectHostname", true.into()),
        ("RestrictRealtime", true.into()),
        // An attacker may have made the state, and root reads it: nothing that this starts gains more privileges.
        ("NoNewPrivileges", true.into()),
        ("RestrictSUIDSGID", true.into()),
        ("LockPersonality", true.into()),
    ]
}

/// Settings for the end of the unit, which is never clean, and for its share of the host.
fn end_and_weight<'a>() -> [Setting<'a>; 7] {
    [
        // Nothing in the unit needs a clean stop.
        ("KillMode", "control-group".into()),
        ("KillSignal", 9_i32.into()),
        ("RuntimeMaxUSec", LONGEST_RUN_MICROS.into()),
        ("CollectMode", "inactive-or-failed".into()),
        // The host's own work comes first, and a host that runs out of memory kills this unit first.
        ("OOMScoreAdjust", 1000_i32.into()),
        ("CPUWeight", 20_u64.into()),
        ("IOWeight", 20_u64.into()),
    ]
}

/// Hidden paths: sockets and plugins of the first engine, its containerd and its files, other engines, and the system's
/// bus, over which an engine asks systemd for units of containers, and firewalld for rules.
const HIDDEN: [&str; 12] = [
    "/run/docker.sock",
    "/run/containerd",
    "/var/lib/containerd",
    "/usr/lib/docker",
    "/usr/libexec/docker",
    "/run/snap.docker",
    "/run/podman",
    "/run/crio",
    "/run/k3s",
    "/run/user",
    "/run/dbus",
    "/run/systemd/private",
];

/// Paths that are covered by an empty, writable directory: an engine makes files there.
const COVERED: [&str; 3] = ["/etc/docker", "/run/docker", "/var/lib/docker"];

fn keeper(places: &Places, agent: &Path, dockerd: &Path) -> Result<Exec> {
    let text =
        |path: &Path| path.to_str().map(str::to_owned).with_context(|| format!("{} is no UTF-8", path.display()));
    let own = [PROGRAM, "second-engine", "--state-dir"].map(str::to_owned);
    let mut arguments = own.to_vec();
    arguments.push(text(&places.data.join("swarm"))?);
    arguments.extend(["--run-dir".to_owned(), text(&places.run)?, "--".to_owned(), text(dockerd)?]);
    arguments.extend(engine_arguments(&text(&places.data)?, &text(&places.run)?));
    Ok((text(agent)?, arguments, false))
}

/// The arguments of an engine that shares nothing: it finds no containerd, so it starts one for itself. `vfs` mounts
/// nothing.
fn engine_arguments(data: &str, run: &str) -> Vec<String> {
    let mut arguments = vec![
        format!("--config-file={run}/daemon.json"),
        format!("--data-root={data}"),
        format!("--exec-root={run}/exec"),
        format!("--pidfile={run}/pid"),
        format!("--host=unix://{run}/docker.sock"),
    ];
    let fixed = [
        "--group=root",
        "--bridge=none",
        "--iptables=false",
        "--ip6tables=false",
        "--ip-forward=false",
        "--ip-masq=false",
        "--userland-proxy=false",
        "--storage-driver=vfs",
        "--add-runtime=refuse=/bin/false",
        "--default-runtime=refuse",
    ];
    arguments.extend(fixed.map(str::to_owned));
    arguments
}

/// The command that adds an address to the loopback of its own network, which has no other interface.
fn add_address(address: IpAddr) -> Vec<String> {
    match address {
        IpAddr::V4(_) => {
            vec!["ip".to_owned(), "address".into(), "add".into(), format!("{address}/32"), "dev".into(), "lo".into()]
        }
        IpAddr::V6(_) => {
            let fixed = ["ip", "address", "add"].map(str::to_owned);
            let rest = [format!("{address}/128"), "dev".into(), "lo".into(), "nodad".into()];
            fixed.into_iter().chain(rest).collect()
        }
    }
}

/// A command with the program's full path: systemd finds programs by name only since 244.
fn exec<S: AsRef<str>>(words: &[S]) -> Exec {
    let words: Vec<String> = words.iter().map(|word| word.as_ref().to_owned()).collect();
    (place_of(&words[0]), words, false)
}

fn place_of(program: &str) -> String {
    let places = ["/usr/bin", "/usr/sbin", "/bin", "/sbin"].map(|dir| format!("{dir}/{program}"));
    let found = places.iter().find(|path| Path::new(path).exists());
    found.unwrap_or(&places[0]).clone()
}

/// The agent's own directory, made writable as a whole: a path that is a mount of its own could not be removed.
fn parent_of(home: &str) -> String {
    Path::new(home).parent().map_or_else(|| home.to_owned(), |parent| parent.display().to_string())
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::fd::AsFd};

    use super::*;

    fn places() -> Places {
        Places::new(Path::new("/var/lib/swarmdr/second"), "drill-0a1b2c3d").expect("is plain")
    }

    #[test]
    fn only_plain_tags_become_names() {
        assert_eq!(places().run, Path::new("/run/swarmdr-second-drill-0a1b2c3d"));
        for wrong in ["", "a/b", "a b", "..", &"x".repeat(60)] {
            Places::new(Path::new("/x"), wrong).expect_err(wrong);
        }
    }

    #[test]
    fn the_engine_shares_nothing_and_runs_nothing() {
        let (agent, arguments, _) =
            keeper(&places(), Path::new("/usr/bin/swarmdr-agent"), Path::new("/usr/bin/dockerd")).expect("is UTF-8");
        assert_eq!(agent, "/usr/bin/swarmdr-agent");
        let own = arguments.iter().position(|word| word == "--").expect("the engine's words follow");
        let engine = &arguments[own + 1..];
        assert_eq!(engine[0], "/usr/bin/dockerd");
        for wanted in [
            "--data-root=/var/lib/swarmdr/second/drill-0a1b2c3d/data",
            "--exec-root=/run/swarmdr-second-drill-0a1b2c3d/exec",
            "--host=unix:///run/swarmdr-second-drill-0a1b2c3d/docker.sock",
            "--iptables=false",
            "--bridge=none",
            "--default-runtime=refuse",
        ] {
            assert!(engine.iter().any(|word| word == wanted), "{wanted} in {engine:?}");
        }
        assert!(!engine.iter().any(|word| word.contains("containerd")), "the host's containerd is not its own");
    }

    #[test]
    fn the_unit_has_no_network_but_the_old_addresses() {
        let spec = Spec {
            tag: "drill-0a1b2c3d".into(),
            addresses: vec!["10.0.0.5".parse().expect("an address"), "fd00::5".parse().expect("an address")],
            hidden: vec!["/data/docker".into()],
        };
        let file = File::open("/dev/null").expect("is there");
        let agent = Path::new("/usr/bin/swarmdr-agent");
        let settings =
            settings(&places(), &spec, agent, Path::new("/usr/bin/dockerd"), file.as_fd()).expect("are made");
        let of = |name: &str| settings.iter().find(|(key, _)| *key == name).map(|(_, value)| value);
        assert_eq!(of("PrivateNetwork"), Some(&Variant::from(true)));
        assert_eq!(of("NoNewPrivileges"), Some(&Variant::from(true)));
        assert_eq!(of("KillMode"), Some(&Variant::from("control-group")));
        assert_eq!(of("OOMScoreAdjust"), Some(&Variant::from(1000_i32)));
        let said: Vec<String> = spec.addresses.iter().map(|address| add_address(*address).join(" ")).collect();
        assert_eq!(said, ["ip address add 10.0.0.5/32 dev lo", "ip address add fd00::5/128 dev lo nodad"]);
        let inaccessible = format!("{:?}", of("InaccessiblePaths").expect("is set"));
        for hidden in ["-/data/docker", "-/run/docker.sock", "-/run/podman", "-/run/containerd", "-/run/dbus"] {
            assert!(inaccessible.contains(hidden), "{hidden} in {inaccessible}");
        }
    }
}

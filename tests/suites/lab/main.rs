//! The lab provides real hosts, and leaves nothing of them behind.

use std::{
    fs::{self, File},
    io::Write,
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::AsRawFd,
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use swarmdr_tests::lab::{Engine, Host, HostSpec, Lab, Network, Role, Service, addr, wait_for};

const LIMIT: Duration = Duration::from_secs(60);
/// Limit if a host's tree has to be built first.
const BUILD_LIMIT: Duration = Duration::from_secs(600);

#[test]
fn a_host_of_engine_20_10_runs_a_swarm() -> Result<()> {
    runs_a_swarm(Engine::E20_10)
}

#[test]
fn a_host_of_engine_26_1_runs_a_swarm() -> Result<()> {
    runs_a_swarm(Engine::E26_1)
}

#[test]
fn a_host_of_engine_28_5_runs_a_swarm() -> Result<()> {
    runs_a_swarm(Engine::E28_5)
}

fn runs_a_swarm(engine: Engine) -> Result<()> {
    engine.tree()?;
    let lab = Lab::new()?;
    let begun = Instant::now();
    let mut host = lab.boot(HostSpec::new("m1", engine, addr(11)))?;
    eprintln!("{engine:?}: host up after {:.1?}, of which boot {:.1?}", begun.elapsed(), host.boot_took()?);

    let systemd = host.sh("systemctl --version | head -1")?;
    assert!(systemd.starts_with(&format!("systemd {} ", engine.systemd())), "{systemd}");
    let version = host.docker(&["version", "--format", "{{.Server.Version}}"])?;
    assert!(version.starts_with(engine.version()), "{version}");
    assert_eq!(host.docker(&["info", "--format", "{{.Driver}} {{.CgroupVersion}} {{.Name}}"])?, "overlay2 2 m1");

    let begun = Instant::now();
    host.load_image()?;
    host.swarm_init()?;
    host.create_overlay("back")?;
    host.create_secret("key", b"a secret")?;
    host.create_config("site", b"a config")?;
    let web = Service { name: "web", replicas: 2, secrets: &["key"], configs: &["site"], ..Default::default() };
    host.create_service(&web)?;
    host.create_service(&Service { name: "db", replicas: 1, network: Network::Overlay("back"), ..Default::default() })?;
    host.wait_service("web", 2)?;
    host.wait_service("db", 1)?;
    eprintln!("{engine:?}: swarm with three tasks after {:.1?}", begun.elapsed());
    let secret = "docker exec $(docker ps -q -f name=web.1) cat /run/secrets/key /site";
    assert_eq!(host.sh(secret)?, "a secreta config");

    freezes_and_thaws(&host)?;

    let before = host.docker(&["info", "--format", "{{.Swarm.Cluster.ID}} {{.Swarm.NodeID}}"])?;
    let begun = Instant::now();
    host.kill()?;
    let journal = host.journal("docker.service", 1000)?;
    assert!(journal.contains("Daemon has completed initialization"), "{journal}");
    host.boot()?;
    host.wait_manager()?;
    assert_eq!(host.docker(&["info", "--format", "{{.Swarm.Cluster.ID}} {{.Swarm.NodeID}}"])?, before);
    host.wait_service("web", 2)?;
    host.wait_service("db", 1)?;
    eprintln!("{engine:?}: power cut to all tasks again in {:.1?}", begun.elapsed());
    Ok(())
}

fn freezes_and_thaws(host: &Host) -> Result<()> {
    let manager = "busctl call org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager";
    let state = "systemctl show --property=FreezerState --value docker.service";
    host.sh(&format!("{manager} FreezeUnit s docker.service"))?;
    assert_eq!(host.sh(state)?, "frozen");
    let asked = host.run(&["timeout", "2", "docker", "version"])?;
    assert_eq!(asked.status.code(), Some(124), "a frozen engine answered: {asked:?}");
    host.sh(&format!("{manager} ThawUnit s docker.service"))?;
    assert_eq!(host.sh(state)?, "running");
    host.wait_engine()
}

#[test]
fn a_cut_is_seen_by_others_and_heals() -> Result<()> {
    let lab = Lab::new()?;
    let [m1, m2, w1] = lab.boot_all([
        HostSpec::new("m1", Engine::E20_10, addr(11)),
        HostSpec::new("m2", Engine::E20_10, addr(12)),
        HostSpec::new("w1", Engine::E26_1, addr(21)),
    ])?;
    let ping = |from: &Host, to: &Host| -> Result<bool> {
        let words = ["busybox", "ping", "-c1", "-W1", &to.addr().to_string()];
        Ok(from.run(&words)?.status.success())
    };
    assert!(ping(&m1, &w1)? && ping(&w1, &m1)?);
    m1.swarm_init()?;
    m2.join(&m1, Role::Manager)?;
    w1.join(&m1, Role::Worker)?;
    let managers = m1.docker(&["node", "ls", "--filter=role=manager", "--format={{.ManagerStatus}}"])?;
    assert_eq!(managers.lines().filter(|status| ["Leader", "Reachable"].contains(status)).count(), 2);

    w1.cut()?;
    assert!(!ping(&m1, &w1)? && !ping(&w1, &m1)? && ping(&m1, &m2)?);
    let state = |wanted: &'static str| {
        let is = m1.docker(&["node", "inspect", "--format", "{{.Status.State}}", "w1"]);
        is.map(|is| (is == wanted).then_some(()))
    };
    m1.wait_for("w1 to be down", LIMIT, || state("down"))?;
    w1.heal()?;
    m1.wait_for("w1 to be back", LIMIT, || state("ready"))?;
    Ok(())
}

#[test]
fn hosts_and_the_labs_own_end_reach_each_other() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.boot(HostSpec::new("m1", Engine::E20_10, addr(11)))?;
    host.swarm_init()?;
    let engine = SocketAddr::from((host.addr(), 2377));
    lab.netns().within(|| TcpStream::connect_timeout(&engine, LIMIT))??;

    // Another lab has the same addresses, and does not interfere.
    let other = Lab::new()?;
    let _other = other.netns().within(|| TcpListener::bind((other.gateway_ip(), 9000)))??;
    let server = lab.netns().within(|| TcpListener::bind((lab.gateway_ip(), 9000)))??;
    let client = host.spawn(&["busybox", "nc", "10.77.0.1", "9000"])?;
    let (mut from, _) = server.accept()?;
    from.write_all(b"hello")?;
    drop(from);
    assert_eq!(client.wait(LIMIT)?.stdout, "hello");
    Ok(())
}

#[test]
fn a_fresh_host_takes_the_old_address() -> Result<()> {
    let lab = Lab::new()?;
    let [old, other] =
        lab.boot_all([HostSpec::new("m1", Engine::E20_10, addr(11)), HostSpec::new("m2", Engine::E20_10, addr(12))])?;
    let ask = ["busybox", "nc", "-w2", "10.77.0.11", "7000"];
    let _answer = old.spawn(&["busybox", "nc", "-l", "-p", "7000", "-e", "hostname"])?;
    let answer =
        |name: &str| wait_for("an answer", LIMIT, || Ok((other.run(&ask)?.stdout.trim() == name).then_some(())));
    answer("m1")?;
    old.write_file("/var/lib/mark", "old")?;
    assert_eq!(old.read_file("/var/lib/mark")?, "old");
    old.destroy()?;

    let fresh = lab.boot(HostSpec::new("m1-again", Engine::E20_10, addr(11)))?;
    assert!(fresh.read_file("/var/lib/mark").is_err(), "a fresh host has an old disk");
    let _answer = fresh.spawn(&["busybox", "nc", "-l", "-p", "7000", "-e", "hostname"])?;
    answer("m1-again")
}

#[test]
fn a_command_in_the_background_can_be_watched_and_killed() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.boot(HostSpec::new("m1", Engine::E20_10, addr(11)))?;
    let loud = host.spawn(&["sh", "-c", "echo begun; exec sleep 1000"])?;
    wait_for("its first line", LIMIT, || Ok((loud.stdout()? == "begun\n").then_some(())))?;
    assert_eq!(host.sh(&format!("cat /proc/{}/comm", loud.pid()))?, "sleep");
    loud.signal("KILL")?;
    let ended = loud.wait(LIMIT)?;
    assert!(!ended.status.success(), "{ended:?}");

    let forgotten = host.spawn(&["sleep", "1000"])?;
    let pid = forgotten.pid();
    drop(forgotten);
    assert!(host.sh(&format!("test -e /proc/{pid}")).is_err(), "a dropped command runs on");

    let failed = host.sh("echo reason >&2; exit 7").expect_err("exit code 7").to_string();
    assert!(failed.contains("exit status: 7") && failed.contains("reason"), "{failed}");
    Ok(())
}

#[test]
fn a_shutdown_from_within_ends_the_commands() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.boot(HostSpec::new("m1", Engine::E26_1, addr(11)))?;
    // Several commands: it is chance whether one is stopped for long enough to show.
    let commands = (0..8).map(|_| host.spawn(&["sleep", "1000"])).collect::<Result<Vec<_>>>()?;
    // The host may be gone before this command is.
    let _ = host.run(&["systemctl", "poweroff"]);
    for command in commands {
        assert!(!command.wait(LIMIT)?.status.success());
    }
    host.wait_for("the host to be off", LIMIT, || {
        Ok(host.run(&["true"]).map_or(true, |it| !it.status.success()).then_some(()))
    })
}

/// Everything that a lab could leave behind, by paths and files that exist while it lives.
struct Traces {
    dir: PathBuf,
    cgroup: PathBuf,
    /// Held open: the kernel gives the number of a namespace that is gone to the next one.
    netns: [File; 2],
}

impl Traces {
    fn of(lab: &Lab, host: &Host) -> Result<Self> {
        Self::told(&Self::tell(lab, host)?)
    }

    /// Returns the traces as lines, for another process.
    fn tell(lab: &Lab, host: &Host) -> Result<String> {
        let init = host.init()?;
        let paths = [lab.dir().display(), lab.cgroup().display()].map(|path| path.to_string());
        let netns = lab.netns_path();
        Ok(format!("{}\n{}\n/proc/{init}/ns/net\n", paths.join("\n"), netns.display()))
    }

    fn told(lines: &str) -> Result<Self> {
        let mut lines = lines.lines();
        let mut next = || lines.next().map(PathBuf::from).context("too little was told");
        let (dir, cgroup) = (next()?, next()?);
        let traces = Self { dir, cgroup, netns: [File::open(next()?)?, File::open(next()?)?] };
        let left = traces.left()?;
        ensure!(left.len() == 4, "not all is there to begin with: {left:?}");
        Ok(traces)
    }

    /// Returns the traces that are left: directory, processes (all of them are in the cgroup), namespaces, mounts.
    fn left(&self) -> Result<Vec<String>> {
        let mut left = Vec::new();
        left.extend(self.dir.exists().then(|| self.dir.display().to_string()));
        left.extend(self.cgroup.exists().then(|| self.cgroup.display().to_string()));
        for netns in &self.netns {
            left.extend(user_of(netns)?);
        }
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        let name = self.dir.file_name().context("a lab's directory has a name")?;
        left.extend(mounts.contains(&*name.to_string_lossy()).then_some(mounts));
        Ok(left)
    }

    /// Waits until no traces are left. That is not at once: a process that another test is just starting has everything
    /// open that this one has.
    fn wait_until_gone(&self) -> Result<()> {
        wait_for("nothing to be left", LIMIT, || {
            let left = self.left()?;
            ensure!(left.is_empty(), "left: {left:?}");
            Ok(Some(()))
        })
    }
}

/// Returns a process that is in the namespace or has it open, other than by this very file.
fn user_of(netns: &File) -> Result<Option<String>> {
    let own = PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), netns.as_raw_fd()));
    let target = fs::read_link(&own)?;
    let entries = |dir: PathBuf| fs::read_dir(dir).into_iter().flatten().flatten();
    let links = entries("/proc".into())
        // Excludes the links to this process.
        .filter(|process| process.file_name().as_encoded_bytes()[0].is_ascii_digit())
        .map(|process| process.path())
        .flat_map(|process| entries(process.join("fd")).map(|fd| fd.path()).chain([process.join("ns/net")]));
    let mut users = links.filter(|link| *link != own && fs::read_link(link).is_ok_and(|to| to == target));
    Ok(users.next().map(|link| link.display().to_string()))
}

#[test]
fn nothing_is_left_of_a_dropped_lab() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.boot(HostSpec::new("m1", Engine::E20_10, addr(11)))?;
    let traces = Traces::of(&lab, &host)?;
    drop((lab, host));
    traces.wait_until_gone()
}

#[test]
fn nothing_is_left_after_a_panic() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.boot(HostSpec::new("m1", Engine::E20_10, addr(11)))?;
    let traces = Traces::of(&lab, &host)?;
    let panicked = std::thread::spawn(move || {
        let _held = (lab, host);
        panic!("this panic is part of the test");
    });
    assert!(panicked.join().is_err());
    traces.wait_until_gone()
}

/// Holds a lab until it is killed. Only the tests below run it, in a process of its own.
#[test]
#[ignore = "waits to be killed"]
fn victim() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.boot(HostSpec::new("m1", Engine::E20_10, addr(11)))?;
    let told = PathBuf::from(std::env::var("LAB_VICTIM").context("run by no other test")?);
    fs::write(told.with_extension("new"), format!("{}{}", Traces::tell(&lab, &host)?, lab.reaper()))?;
    fs::rename(told.with_extension("new"), &told)?;
    loop {
        std::thread::park();
    }
}

/// Kills a test process that has a lab, without warning, and on request its reaper too.
fn killed_victim(and_reaper: bool) -> Result<Traces> {
    let dir = tempfile::tempdir()?;
    let told = dir.path().join("traces");
    let mut victim = Command::new(std::env::current_exe()?)
        .args(["--exact", "victim", "--ignored", "--nocapture"])
        .env("LAB_VICTIM", &told)
        .stdout(Stdio::null())
        .spawn()?;
    let lines = wait_for("the victim's lab", BUILD_LIMIT, || Ok(fs::read_to_string(&told).ok()));
    let traces = lines.and_then(|lines| {
        let reaper = lines.lines().last().context("a victim tells its reaper")?;
        if and_reaper {
            ensure!(Command::new("kill").args(["-KILL", reaper]).status()?.success());
        }
        Traces::told(&lines)
    });
    victim.kill()?;
    victim.wait()?;
    traces
}

#[test]
fn nothing_is_left_of_a_killed_test_process() -> Result<()> {
    killed_victim(false)?.wait_until_gone()
}

#[test]
fn the_next_lab_removes_what_a_killed_reaper_could_not() -> Result<()> {
    let traces = killed_victim(true)?;
    let _next = Lab::new()?;
    traces.wait_until_gone()
}

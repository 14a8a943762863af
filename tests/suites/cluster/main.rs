//! Several managers and one backup; vaults that fail, and archives that wait for them.

use std::{
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use swarmdr_tests::{
    campaign,
    lab::{Engine, Host, HostSpec, Output, Role, addr},
    s3::{Fault, LossyProxy, Release},
    scenario::{Site, VAULT, agent, agent_json},
};

const SPOOL: &str = "/var/lib/swarmdr/spool";

/// A schedule by which a backup is always due, and other managers take over after a few seconds.
const ALWAYS: &str = "\n[schedule]\ncron = \"* * * * * *\"\ntakeover_after = 4\n[spool]\npatience = 0\n";
/// A schedule by which a backup is due only as long as there is none at all.
const ONCE: &str = "\n[schedule]\ncron = \"0 0 1 1 *\"\ntakeover_after = 600\n[spool]\npatience = 0\n";

/// Three managers with the agent on each.
struct Trio {
    site: Site,
    hosts: [Host; 3],
}

impl Trio {
    async fn boot(engine: Engine) -> Result<Self> {
        let site = Site::new(Release::V20).await?;
        let specs = [11, 12, 13].map(|last| HostSpec::new(&format!("m{last}"), engine, addr(last)));
        let hosts = site.lab.boot_all(specs)?;
        hosts[0].swarm_init()?;
        for host in &hosts[1..] {
            host.join(&hosts[0], Role::Manager)?;
        }
        for host in &hosts {
            host.wait_manager()?;
            site.set_up_manager(host)?;
        }
        Ok(Self { site, hosts })
    }

    fn configure(&self, more: &str) -> Result<()> {
        self.hosts.iter().try_for_each(|host| self.site.configure(host, &(self.site.config(VAULT) + more)))
    }

    /// Returns the managers in the order in which they are designated: by node id, the leader last.
    fn line(&self) -> Result<Vec<&Host>> {
        let listed =
            self.hosts[0].wait_for("three reachable managers with a leader", Duration::from_secs(90), || {
                let all =
                    self.hosts[0].docker(&["node", "ls", "--format", "{{.ID}} {{.Hostname}} {{.ManagerStatus}}"])?;
                Ok((all.matches("Reachable").count() == 2 && all.contains("Leader")).then_some(all))
            })?;
        let mut line: Vec<(bool, &str, &Host)> = Vec::new();
        for row in listed.lines() {
            let mut words = row.split_whitespace();
            let (id, name) = (words.next().context("an id")?, words.next().context("a name")?);
            let host = self.hosts.iter().find(|host| host.name() == name).context("a host of ours")?;
            line.push((words.next() == Some("Leader"), id, host));
        }
        line.sort_by_key(|(leads, id, _)| (*leads, *id));
        Ok(line.into_iter().map(|(_, _, host)| host).collect())
    }

    /// Ids of the stored backups.
    fn stored(&self) -> Result<Vec<String>> {
        stored(&self.hosts[0])
    }
}

fn stored(host: &Host) -> Result<Vec<String>> {
    let output = agent(host, &["list", "--json"])?;
    let code = output.status.code();
    ensure!(matches!(code, Some(0 | 5)), "list exited {code:?}: {}{}", output.stdout, output.stderr);
    let listed: Value = serde_json::from_str(&output.stdout)?;
    let ids = listed["backups"].as_array().context("a list")?.iter().map(|it| it["id"].as_str().map(str::to_owned));
    ids.collect::<Option<_>>().context("each has an id")
}

/// Runs what the timer runs on each of these hosts, after this many milliseconds. Returns the exit codes and outputs.
fn fire(hosts: &[&Host], delays: &[u64]) -> Result<Vec<(i32, Output)>> {
    thread::scope(|scope| {
        let fired: Vec<_> = hosts
            .iter()
            .zip(delays)
            .map(|(host, delay)| {
                scope.spawn(move || {
                    thread::sleep(Duration::from_millis(*delay));
                    agent(host, &["backup", "--if-due"])
                })
            })
            .collect();
        let ended = fired.into_iter().map(|run| run.join().expect("does not panic"));
        ended.map(|output| output.map(|output| (output.status.code().unwrap_or(-1), output))).collect()
    })
}

fn codes(fired: &[(i32, Output)]) -> Vec<i32> {
    fired.iter().map(|(code, _)| *code).collect()
}

fn said(fired: &[(i32, Output)]) -> String {
    fired.iter().map(|(code, output)| format!("exit {code}: {}{}\n", output.stdout, output.stderr)).collect()
}

fn engine_since(host: &Host) -> Result<String> {
    host.sh("systemctl show -p ActiveState -p ActiveEnterTimestampMonotonic docker.service docker.socket")
}

#[tokio::test]
async fn of_three_managers_one_makes_the_backup() -> Result<()> {
    let trio = Trio::boot(Engine::E26_1).await?;
    fires_at_once(&trio)?;
    a_second_run_on_the_same_host_ends_cleanly(&trio)?;
    a_broken_agent_is_taken_over(&trio)?;
    one_that_is_down_is_passed_over(&trio)?;
    one_cut_off_is_refused(&trio)?;
    another_process_on_the_socket_is_refused(&trio)?;
    Ok(())
}

/// The timers of all managers fire at once, or while the first one's engine is already stopped.
fn fires_at_once(trio: &Trio) -> Result<()> {
    let line = trio.line()?;
    trio.configure(ONCE)?;
    let fired = fire(&line, &[0, 0, 0])?;
    assert_eq!(codes(&fired), [0, 3, 3], "{}", said(&fired));
    assert_eq!(trio.stored()?.len(), 1);
    let fired = fire(&line, &[0, 0, 0])?;
    assert_eq!(codes(&fired), [3, 3, 3], "{}", said(&fired));
    assert_eq!(trio.stored()?.len(), 1);

    trio.configure(&ALWAYS.replace("takeover_after = 4", "takeover_after = 600"))?;
    let mut all = vec![[0, 0, 0], [0, 1200, 1800], [0, 2500, 600]];
    if campaign::full() {
        all.extend((0..20).map(|n| [(n * 131) % 900, (n * 977) % 4000, (n * 613) % 4000]));
    }
    for (round, delays) in all.into_iter().enumerate() {
        // A backup restarts an engine, and another manager may become the leader.
        let line = trio.line()?;
        let fired = fire(&line, &delays)?;
        println!("round {round}, after {delays:?} ms: exits {:?}", codes(&fired));
        assert_eq!(codes(&fired), [0, 3, 3], "{delays:?}: {}", said(&fired));
        assert_eq!(trio.stored()?.len(), 2 + round);
    }
    Ok(())
}

fn a_second_run_on_the_same_host_ends_cleanly(trio: &Trio) -> Result<()> {
    let host = trio.line()?[0];
    let before = trio.stored()?.len();
    let first = host.spawn(&["swarmdr-agent", "backup"])?;
    host.wait_for("the first run to hold the lock", Duration::from_secs(30), || {
        Ok((host.sh("cut -d' ' -f1 /run/swarmdr/agent.lock")? == first.pid().to_string()).then_some(()))
    })?;
    let second = agent_json(host, 3, &["backup"])?;
    ensure!(second["because"].to_string().contains("another run of the agent"), "{second:#}");
    let first = first.wait(Duration::from_secs(120))?;
    ensure!(first.status.success(), "{}", first.stderr);
    assert_eq!(trio.stored()?.len(), before + 1);
    Ok(())
}

fn a_broken_agent_is_taken_over(trio: &Trio) -> Result<()> {
    trio.configure(ALWAYS)?;
    let line = trio.line()?;
    let before = trio.stored()?.len();
    line[0].sh("mv /usr/bin/swarmdr-agent /usr/bin/swarmdr-agent.broken")?;
    let others = &line[1..];
    let fired = fire(others, &[0, 0])?;
    assert_eq!(codes(&fired), [3, 3], "{}", said(&fired));
    ensure!(fired[0].1.stderr.contains(&format!("it is {}'s turn", line[0].name())), "{}", said(&fired));
    thread::sleep(Duration::from_secs(5));
    let fired = fire(others, &[0, 0])?;
    assert_eq!(codes(&fired), [0, 3], "{}", said(&fired));
    ensure!(fired[0].1.stdout.contains("took over"), "{}", said(&fired));
    line[0].sh("mv /usr/bin/swarmdr-agent.broken /usr/bin/swarmdr-agent")?;
    assert_eq!(stored(others[0])?.len(), before + 1);
    Ok(())
}

fn one_that_is_down_is_passed_over(trio: &Trio) -> Result<()> {
    let line = trio.line()?;
    let before = trio.stored()?.len();
    line[0].sh("systemctl stop docker.socket docker.service")?;
    let others = &line[1..];
    let fired = fire(others, &[0, 0])?;
    assert_eq!(codes(&fired), [3, 3], "{}", said(&fired));
    ensure!(fired[0].1.stderr.contains("may be making the backup"), "{}", said(&fired));
    thread::sleep(Duration::from_secs(5));
    // Now the next manager is designated, and with one of three down its engine must not stop.
    let since = engine_since(others[0])?;
    let fired = fire(&others[..1], &[0])?;
    assert_eq!(codes(&fired), [4], "{}", said(&fired));
    assert_eq!(engine_since(others[0])?, since);
    agent_json(others[0], 0, &["backup", "--if-due", "--allow-quorum-loss"])?;
    assert_eq!(stored(others[0])?.len(), before + 1);
    line[0].sh("systemctl start docker.socket docker.service")?;
    line[0].wait_manager()
}

fn one_cut_off_is_refused(trio: &Trio) -> Result<()> {
    let line = trio.line()?;
    let before = trio.stored()?.len();
    let (cut, others) = (line[0], &line[1..]);
    cut.cut()?;
    for host in others {
        // Excludes the state itself: the managers that are left may elect a leader meanwhile.
        let made = "find /etc/swarmdr /var/lib/swarmdr -type f ! -name history.json -printf '%p %s\\n' | sort; ls -A /var/lib/docker";
        let (files, since) = (host.sh(made)?, engine_since(host)?);
        let refused = agent_json(host, 4, &["backup"])?;
        let error = refused["error"].to_string();
        ensure!(error.contains("would cost the cluster its majority"), "{refused:#}");
        ensure!(error.contains(&format!("not answering: {}", cut.name())), "{refused:#}");
        assert_eq!((host.sh(made)?, engine_since(host)?), (files, since));
    }
    let since = engine_since(cut)?;
    let alone = agent_json(cut, 4, &["backup"])?;
    println!("cut off: {}", alone["error"]);
    assert_eq!(engine_since(cut)?, since);
    // A freeze costs the two that are left neither the majority nor the leader.
    let host = others[0];
    let since = engine_since(host)?;
    trio.site.configure(host, &(trio.site.config(VAULT) + "\n[backup]\nmode = \"freeze\"\n"))?;
    let frozen = agent_json(host, 0, &["backup"])?;
    ensure!(frozen["notes"].to_string().contains("wait while this manager is frozen"), "{frozen:#}");
    assert_eq!(engine_since(host)?, since);
    cut.heal()?;
    trio.line()?;
    assert_eq!(trio.stored()?.len(), before + 1);
    Ok(())
}

/// A proxy answers in the engine's place, outside of its unit: whether the unit is stopped would say nothing about it.
fn another_process_on_the_socket_is_refused(trio: &Trio) -> Result<()> {
    let host = trio.line()?[0];
    let _proxy = proxy_of_the_engine(host)?;
    let config = trio.site.config(VAULT) + "\n[engine]\nsocket = \"/var/lib/proxy.sock\"\n";
    trio.site.configure(host, &config)?;
    let since = engine_since(host)?;
    let refused = agent_json(host, 4, &["backup"])?;
    ensure!(refused["error"].to_string().contains("is not known to be that of docker.service"), "{refused:#}");
    ensure!(refused["to_do"].to_string().contains("engine.socket"), "{refused:#}");
    assert_eq!(engine_since(host)?, since);
    trio.configure(ALWAYS)
}

/// Starts a proxy of the host's engine, from outside of the host.
fn proxy_of_the_engine(host: &Host) -> Result<thread::JoinHandle<()>> {
    let engine = host.root()?.join("run/docker.sock");
    let listener = bind_long(&host.var().join("lib"), "proxy.sock")?;
    Ok(thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(server) = UnixStream::connect(&engine) else { continue };
            let (Ok(mut from_client), Ok(mut to_server)) = (client.try_clone(), server.try_clone()) else { continue };
            thread::spawn(move || std::io::copy(&mut from_client, &mut to_server));
            thread::spawn(move || pass_on(server, client));
        }
    }))
}

/// Listens on a socket in a directory whose path is too long for a socket's address.
fn bind_long(dir: &Path, name: &str) -> Result<UnixListener> {
    use std::os::fd::AsRawFd;
    let opened = std::fs::File::open(dir)?;
    let short = PathBuf::from(format!("/proc/self/fd/{}/{name}", opened.as_raw_fd()));
    UnixListener::bind(&short).with_context(|| format!("failed to listen on {}/{name}", dir.display()))
}

fn pass_on(mut from: UnixStream, mut to: UnixStream) {
    // However the copy ends, the other side is closed too.
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(std::net::Shutdown::Both);
}

#[tokio::test]
async fn whatever_a_vault_does_nothing_is_lost_and_nothing_doubled() -> Result<()> {
    let site = Site::new(Release::V20).await?;
    let proxy = LossyProxy::in_lab(&site.lab, site.rgw.address())?;
    let host = site.lab.boot(HostSpec::new("m1", Engine::E28_5, addr(11)))?;
    host.swarm_init()?;
    site.set_up_manager(&host)?;
    let faults = Faults { site, proxy, host };
    faults.loses_the_reply().await?;
    faults.dies_in_the_middle_of_an_upload()?;
    faults.says_503_for_a_while()?;
    faults.dies_during_the_run()?;
    faults.has_no_room_for_days()?;
    faults.only_one_of_two_works()?;
    faults.prunes_what_it_may().await?;
    faults.every_version_is_there_once().await
}

/// One manager, and a proxy that can inject faults on its way to the vault.
struct Faults {
    site: Site,
    proxy: LossyProxy,
    host: Host,
}

impl Faults {
    fn configure(&self, more: &str) -> Result<()> {
        let config = self.site.config(VAULT).replace(&self.site.rgw.endpoint(), &self.proxy.endpoint());
        self.site.configure(&self.host, &(config + more))
    }

    fn spooled(&self) -> Result<usize> {
        Ok(self.host.sh(&format!("find {SPOOL} -maxdepth 1 -name '*.swarmdr*'"))?.lines().count())
    }

    /// Checks that the engine is active and its swarm works.
    fn engine_is_up(&self) -> Result<()> {
        assert_eq!(self.host.sh("systemctl is-active docker.service docker.socket")?, "active\nactive");
        self.host.wait_manager()
    }

    /// Runs a backup that cannot be stored: its archive waits in the spool.
    fn fails_and_waits(&self, args: &[&str]) -> Result<Value> {
        let failed = agent_json(&self.host, 1, args)?;
        ensure!(failed["to_do"].to_string().contains(SPOOL), "{failed:#}");
        self.engine_is_up()?;
        Ok(failed)
    }

    /// Checks that the next run by the timer sends the archives that wait and makes no backup.
    fn next_tick_sends(&self, waiting: usize) -> Result<()> {
        let (before, since) = (stored(&self.host)?.len(), engine_since(&self.host)?);
        assert_eq!(self.spooled()?, waiting);
        self.configure(ONCE)?;
        let sent = agent_json(&self.host, 0, &["backup", "--if-due"])?;
        assert_eq!(sent["sent"].as_array().map(Vec::len), Some(waiting), "{sent:#}");
        assert_eq!(self.spooled()?, 0);
        assert_eq!(stored(&self.host)?.len(), before + waiting);
        assert_eq!(engine_since(&self.host)?, since, "sending needs no stop");
        agent_json(&self.host, 3, &["backup", "--if-due"])?;
        Ok(())
    }

    async fn loses_the_reply(&self) -> Result<()> {
        self.configure(ONCE)?;
        // The first put into an empty vault is the rehearsal, which stores nothing.
        self.proxy.spoil("PUT /vault/", 1, 1, Fault::LoseAnswer);
        agent_json(&self.host, 0, &["backup", "--if-due"])?;
        assert_eq!(stored(&self.host)?.len(), 1);
        assert_eq!(self.site.owner.versions("prod/").await?.len(), 1, "the retry made a second version");
        Ok(())
    }

    fn dies_in_the_middle_of_an_upload(&self) -> Result<()> {
        self.configure(ONCE)?;
        self.proxy.spoil("PUT /vault/", 0, usize::MAX, Fault::Cut { after: 700 });
        self.fails_and_waits(&["backup"])?;
        self.proxy.heal();
        self.next_tick_sends(1)
    }

    /// 503 for less time than the run's patience, and for more.
    fn says_503_for_a_while(&self) -> Result<()> {
        self.configure(&ONCE.replace("patience = 0", "patience = 60"))?;
        // One round of a store is four puts.
        self.proxy.spoil("PUT /vault/", 0, 5, Fault::SlowDown);
        let before = stored(&self.host)?.len();
        agent_json(&self.host, 0, &["backup"])?;
        assert_eq!(stored(&self.host)?.len(), before + 1);

        self.configure(ONCE)?;
        self.proxy.spoil("PUT /vault/", 0, usize::MAX, Fault::SlowDown);
        self.fails_and_waits(&["backup"])?;
        if campaign::full() {
            thread::sleep(Duration::from_secs(60));
        }
        self.proxy.heal();
        self.next_tick_sends(1)
    }

    fn dies_during_the_run(&self) -> Result<()> {
        let running = self.host.spawn(&["swarmdr-agent", "backup", "--json"])?;
        self.host.wait_for("the engine to be stopped", Duration::from_secs(60), || {
            let state = self.host.run(&["systemctl", "is-active", "docker.service"])?.stdout;
            Ok(matches!(state.trim(), "deactivating" | "inactive").then_some(()))
        })?;
        self.site.rgw.kill_gateway()?;
        let ended = running.wait(Duration::from_secs(180))?;
        assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
        self.engine_is_up()?;
        assert_eq!(self.spooled()?, 1);
        // The vault is down before the run: no backup is made, and no engine is stopped for it.
        let since = engine_since(&self.host)?;
        let refused = agent_json(&self.host, 1, &["backup"])?;
        ensure!(refused["error"].to_string().contains("the engine was not touched"), "{refused:#}");
        assert_eq!((engine_since(&self.host)?, self.spooled()?), (since, 1));
        self.site.rgw.restart_gateway()?;
        self.next_tick_sends(1)
    }

    /// A timer that fires while the vault accepts nothing makes one backup for each time that one is due, up to the
    /// limits; then it refuses. All of them arrive finally.
    fn has_no_room_for_days(&self) -> Result<()> {
        self.site.rgw.exhaust_quota("vault")?;
        // Due a second after the newest one that is stored, and then tomorrow.
        let newest = stored(&self.host)?.into_iter().max().context("one is stored")?;
        let time = newest.split('-').next().context("an id begins with its time")?;
        let iso = format!(
            "{}-{}-{} {}:{}:{}",
            &time[..4],
            &time[4..6],
            &time[6..8],
            &time[9..11],
            &time[11..13],
            &time[13..15]
        );
        let cron = self.host.sh(&format!("date -u -d '{iso} UTC +1 second' '+%-S %-M %-H * * *'"))?;
        let limited = |cron: &str| {
            ALWAYS.replace("* * * * * *", cron).replace("takeover", "timezone = \"UTC\"\ntakeover") + "max_count = 2\n"
        };
        self.configure(&limited(&cron))?;
        self.fails_and_waits(&["backup", "--if-due"])?;
        let since = engine_since(&self.host)?;
        let again = self.fails_and_waits(&["backup", "--if-due"])?;
        ensure!(again["error"].to_string().contains("the backup that was due is made"), "{again:#}");
        assert_eq!(engine_since(&self.host)?, since);
        self.configure(&limited("* * * * * *"))?;
        self.fails_and_waits(&["backup", "--if-due"])?;
        assert_eq!(self.spooled()?, 2);
        let since = engine_since(&self.host)?;
        for args in [&["backup", "--if-due"][..], &["backup"]] {
            let refused = agent_json(&self.host, 4, args)?;
            ensure!(refused["error"].to_string().contains("is full: 2 archives"), "{refused:#}");
        }
        assert_eq!((engine_since(&self.host)?, self.spooled()?), (since, 2));
        // One of them is damaged meanwhile: it is reported and kept, and does not block the other.
        let oldest = self.host.sh(&format!("ls {SPOOL}/*.swarmdr | head -1"))?;
        self.host.sh(&format!("dd if=/dev/urandom of={oldest} bs=1 seek=9000 count=64 conv=notrunc status=none"))?;
        self.site.rgw.lift_quota("vault")?;
        let before = stored(&self.host)?.len();
        let sent = agent_json(&self.host, 6, &["backup"])?;
        ensure!(sent["attention"].to_string().contains("damaged"), "{sent:#}");
        assert_eq!(stored(&self.host)?.len(), before + 2, "the other one and the new one");
        assert_eq!(self.spooled()?, 0);
        self.host.sh(&format!("test $(ls {SPOOL}/damaged | wc -l) = 1 && rm -r {SPOOL}/damaged"))?;
        Ok(())
    }

    /// A vault that is not required misses a backup and gets it later; the other one gets nothing twice.
    fn only_one_of_two_works(&self) -> Result<()> {
        let endpoint = self.proxy.endpoint();
        let first = self.site.config("s3://vault/prod");
        let vault = first.find("[[vault]]").context("it has a vault")?;
        let second = first[vault..]
            .replace("s3://vault/prod", "s3://vault/second")
            .replace(&self.site.rgw.endpoint(), &endpoint);
        self.site.configure(&self.host, &format!("{first}\n{second}required = false\n{ONCE}"))?;
        self.proxy.spoil("PUT /vault/second/", 0, usize::MAX, Fault::SlowDown);
        let puts = |place: &str| {
            self.proxy.seen().iter().filter(|line| line.starts_with(&format!("PUT /vault/{place}/"))).count()
        };
        let partial = agent_json(&self.host, 6, &["backup"])?;
        assert_eq!(partial["kept"].as_array().map(Vec::len), Some(1), "{partial:#}");
        ensure!(partial["attention"].to_string().contains("s3://vault/second"), "{partial:#}");
        assert_eq!(self.spooled()?, 1);
        // While the vault is still down, a run by the timer has nothing new to report.
        agent_json(&self.host, 3, &["backup", "--if-due"])?;
        self.proxy.heal();
        let before = puts("second");
        let completed = agent_json(&self.host, 0, &["backup", "--if-due"])?;
        let kept = completed["sent"][0]["kept"].as_array().context("it was sent")?;
        let news: Vec<_> = kept.iter().filter(|kept| kept["new"] == true).map(|kept| kept["vault"].as_str()).collect();
        assert_eq!(news, [Some("s3://vault/second")], "{completed:#}");
        assert_eq!((puts("second"), self.spooled()?), (before + 1, 0));
        Ok(())
    }

    async fn every_version_is_there_once(&self) -> Result<()> {
        let versions = self.site.owner.versions("").await?;
        // `doctor` stores a second version of its own probe to see what happens, so only archives count.
        let backups = versions.iter().filter(|version| version.key.ends_with(".swarmdr"));
        let mut keys: Vec<&str> = backups.map(|version| version.key.as_str()).collect();
        keys.sort_unstable();
        let twice: Vec<&[&str]> = keys.chunk_by(|one, next| one == next).filter(|same| same.len() > 1).collect();
        ensure!(twice.is_empty(), "stored twice: {twice:?}\nwhat passed the proxy: {:#?}", self.proxy.seen());
        println!("{} backups stored, each once", keys.len());
        Ok(())
    }
}

impl Faults {
    /// Thins out a directory, and leaves a bucket alone: for that, it prints a rule that the server accepts.
    async fn prunes_what_it_may(&self) -> Result<()> {
        use swarmdr_tests::s3::Refusal;

        let directory = "\n[[vault]]\nurl = \"file:///var/lib/swarmdr/second\"\n";
        self.configure(&format!("{ONCE}{directory}"))?;
        // The directory does not exist, as if its disk were not mounted: no backup creates it.
        agent_json(&self.host, 1, &["backup"])?;
        self.host.sh("test ! -e /var/lib/swarmdr/second")?;
        self.host.sh("swarmdr-agent doctor --make-vault || test -d /var/lib/swarmdr/second")?;
        for _ in 0..3 {
            agent_json(&self.host, 0, &["backup"])?;
        }
        let count = || self.host.sh("find /var/lib/swarmdr/second -name '*.swarmdr' | wc -l");
        let before = stored(&self.host)?;
        let refused = agent_json(&self.host, 2, &["prune"])?;
        ensure!(refused["error"].to_string().contains("would remove every backup"), "{refused:#}");
        let planned = agent_json(&self.host, 0, &["prune", "--dry-run", "--keep-last", "2"])?;
        assert_eq!((planned["removed"].as_u64(), count()?.as_str()), (Some(0), "3"));
        let plans = planned["plans"].as_array().context("a plan for each vault")?;
        let rule = plans.iter().find_map(|plan| plan["lifecycle"].as_object()).context("a rule for the bucket")?;
        assert_eq!(rule["Rules"][0]["Filter"]["Prefix"], "prod/");
        let rules = rule["Rules"].as_array().context("no list of rules")?;
        let by_age: Vec<_> = rules.iter().filter(|rule| !rule["Expiration"]["Days"].is_null()).collect();
        let prefixes: Vec<_> = by_age.iter().map(|rule| &rule["Filter"]["Prefix"]).collect();
        assert_eq!(prefixes, ["prod/life/"], "no backup goes by its own age");

        let done = agent_json(&self.host, 0, &["prune", "--keep-last", "2"])?;
        assert_eq!((done["removed"].as_u64(), count()?.as_str()), (Some(1), "2"), "{done:#}");
        assert_eq!(stored(&self.host)?.len(), before.len() - 1, "something went from the bucket");
        // A locked version stays, even with `--delete-versions`.
        let locked = agent_json(&self.host, 0, &["prune", "--keep-last", "1", "--delete-versions"])?;
        assert_eq!((locked["removed"].as_u64(), count()?.as_str()), (Some(1), "1"), "{locked:#}");
        ensure!(locked["plans"].to_string().contains("locked until"), "{locked:#}");
        agent_json(&self.host, 0, &["verify", "--latest"])?;
        let rule = lifecycle(rule)?;
        let put = self.site.owner.client.put_bucket_lifecycle_configuration().bucket("vault");
        put.lifecycle_configuration(rule).send().await.map_err(Refusal::from).context("the server refuses the rule")?;
        Ok(())
    }
}

/// Returns the rule as `aws s3api put-bucket-lifecycle-configuration` would send it.
fn lifecycle(rule: &serde_json::Map<String, Value>) -> Result<aws_sdk_s3::types::BucketLifecycleConfiguration> {
    use aws_sdk_s3::types::*;

    let number = |value: &Value| value.as_i64().and_then(|number| i32::try_from(number).ok());
    let mut configuration = BucketLifecycleConfiguration::builder();
    for rule in rule["Rules"].as_array().context("rules")? {
        let marker = rule["Expiration"]["ExpiredObjectDeleteMarker"].as_bool();
        let expiration =
            marker.map(|marker| LifecycleExpiration::builder().expired_object_delete_marker(marker).build());
        let hidden = number(&rule["NoncurrentVersionExpiration"]["NoncurrentDays"]);
        let hidden = hidden.map(|days| NoncurrentVersionExpiration::builder().noncurrent_days(days).build());
        let parts = number(&rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"]);
        let parts = parts.map(|days| AbortIncompleteMultipartUpload::builder().days_after_initiation(days).build());
        let prefix = rule["Filter"]["Prefix"].as_str().context("a prefix")?;
        let rule = LifecycleRule::builder()
            .id(rule["ID"].as_str().context("an id")?)
            .status(ExpirationStatus::Enabled)
            .filter(LifecycleRuleFilter::builder().prefix(prefix).build())
            .set_expiration(expiration)
            .set_noncurrent_version_expiration(hidden)
            .set_abort_incomplete_multipart_upload(parts);
        configuration = configuration.rules(rule.build()?);
    }
    Ok(configuration.build()?)
}

//! A large state: memory stays small, and the downtime is compared with that of the script that people use. A quarter of
//! a gigabyte by default, a whole one with `SWARMDR_TEST_FULL=1`.

mod proof;

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bollard::{API_DEFAULT_VERSION, Docker, models::SecretSpec};
use data_encoding::BASE64;
use serde_json::Value;
use swarmdr_tests::{
    campaign,
    lab::{Engine, Host, HostSpec, addr},
    s3::Release,
    scenario::{IDENTITY, Site, agent_json, describe_swarm, number},
};

/// Size of each secret; the engine's limit is 500 KiB.
const SECRET_BYTES: usize = 490_000;
const MEMORY_LIMIT: u64 = 64 << 20;

/// Size of the large state.
struct Size {
    name: &'static str,
    /// Number of secrets, which make up the state.
    secrets: u64,
    /// Least number of bytes in its log or its snapshot.
    bytes: u64,
}

fn size() -> Size {
    match campaign::full() {
        true => Size { name: "1 GiB", secrets: 2_200, bytes: 1 << 30 },
        false => Size { name: "256 MiB", secrets: 550, bytes: 1 << 28 },
    }
}

#[tokio::test]
async fn a_large_state_needs_little_memory_and_the_downtime_is_measured() -> Result<()> {
    let site = Site::new(Release::V20).await?;
    let host = site.lab.boot(HostSpec::new("m1", Engine::E26_1, addr(11)))?;
    host.swarm_init()?;
    site.set_up_manager(&host)?;

    let mut table =
        vec![row("", &["stop, freeze", "in between", "start, thaw", "in all", "memory"].map(str::to_owned))];
    let mut fresh = Vec::new();
    for _ in 0..3 {
        let (line, backup) = measure_agent("fresh state, cold", &host, "cold")?;
        table.push(line);
        fresh.push(number(&backup, "/downtime/ours_us")?);
    }
    table.push(measure_agent("fresh state, freeze", &host, "freeze")?.0);
    table.push(measure_script("fresh state, stop; tar; start", &host)?);
    fill(&host).await?;
    let (line, cold) = measure_agent(&format!("{}, cold", size().name), &host, "cold")?;
    table.push(line);
    let mut backup = Value::Null;
    for _ in 0..if campaign::full() { 5 } else { 1 } {
        let (line, report) = measure_agent(&format!("{}, freeze", size().name), &host, "freeze")?;
        table.push(line);
        backup = report;
    }
    table.push(measure_script(&format!("{}, stop; tar; start", size().name), &host)?);
    let before = describe_swarm(&host)?;
    proof::measure(&host)?;
    host.destroy()?;

    let host = site.lab.boot(HostSpec::new("fresh", Engine::E26_1, addr(11)))?;
    site.set_up_restorer(&host)?;
    let restored = agent_json(&host, 0, &["restore", "--latest", "--identity", IDENTITY])?;
    println!("\n{}\n", table.join("\n"));
    pause_does_not_grow(&mut fresh, number(&cold, "/downtime/ours_us")?)?;
    println!("archive {} MiB, phases of backup {}", number(&backup, "/size")? >> 20, backup["phases"]);
    println!("phases of restore {}, memory {} MiB", restored["phases"], number(&restored, "/peak_memory")? >> 20);
    assert_eq!(describe_swarm(&host)?, before);
    drill(&host)?;
    for (what, report) in [("backup", &backup), ("restore", &restored)] {
        let peak = number(report, "/peak_memory")?;
        ensure!(peak > 0 && peak < MEMORY_LIMIT, "{what} took {peak} bytes of memory");
    }
    Ok(())
}

/// Resets the start limit: Docker's unit may be started three times a minute.
fn forget_starts(host: &Host) -> Result<()> {
    host.sh("systemctl reset-failed docker.socket docker.service 2>/dev/null || true")?;
    Ok(())
}

/// Checks that the agent's share of a cold backup's downtime does not grow with the state. Some milliseconds are
/// requests to systemd over the bus, on a machine that does other things too, so a time as short as that counts as no
/// growth; copying a gigabyte took 324 ms.
fn pause_does_not_grow(fresh: &mut [u64], grown: u64) -> Result<()> {
    fresh.sort_unstable();
    let median = fresh[fresh.len() / 2];
    println!("the agent's share of a cold downtime: {median} us fresh (median), {grown} us with {}", size().name);
    ensure!(grown < (median * 3 / 2).max(20_000), "the downtime grows with the state");
    Ok(())
}

/// Measures a drill next to a swarm at work.
fn drill(host: &Host) -> Result<()> {
    let report = agent_json(host, 0, &["drill", "--latest", "--identity", IDENTITY])?;
    println!(
        "drill of {}: {:.1} s in all, a working swarm after {} ms, {} MiB in the second engine; phases {}",
        size().name,
        report["seconds"].as_f64().unwrap_or_default(),
        number(&report, "/booted_ms")?,
        number(&report, "/peak_memory")? >> 20,
        report["phases"]
    );
    ensure!(report["outcome"] == "proven", "{report:#}");
    Ok(())
}

/// Fills the swarm over the API itself: a docker client for each secret would take an hour.
async fn fill(host: &Host) -> Result<()> {
    let socket = host.root()?.join("run/docker.sock");
    let docker = Docker::connect_with_unix(&socket.to_string_lossy(), 120, API_DEFAULT_VERSION)?;
    let docker = docker.negotiate_version().await?;
    for n in 0..size().secrets {
        // Random enough not to be compressible, different for each.
        let mut state = n + 1;
        let value: Vec<u8> = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        })
        .take(SECRET_BYTES / 8)
        .flatten()
        .collect();
        let secret =
            SecretSpec { name: Some(format!("s{n}")), data: Some(BASE64.encode(&value)), ..SecretSpec::default() };
        docker.create_secret(secret).await?;
    }
    Ok(())
}

fn measure_agent(name: &str, host: &Host, mode: &str) -> Result<(String, Value)> {
    let mode = format!("SWARMDR_BACKUP__MODE={mode}");
    let output = host.run(&["env", &mode, "swarmdr-agent", "backup", "--json"])?;
    ensure!(output.status.code() == Some(0), "{output:?}");
    let report: Value = serde_json::from_str(&output.stdout)?;
    let ms = |key: &str| Ok::<_, anyhow::Error>(format!("{} ms", number(&report, &format!("/downtime/{key}"))?));
    let memory = format!("{} MiB", number(&report, "/peak_memory")? >> 20);
    let line = row(name, &[ms("stopping_ms")?, ms("ours_ms")?, ms("starting_ms")?, ms("total_ms")?, memory]);
    Ok((line, report))
}

/// Measures the script of the blog posts: nothing is checked, and everything happens while the engine is down.
fn measure_script(name: &str, host: &Host) -> Result<String> {
    let timed = |script: &str| -> Result<Duration> {
        let begun = Instant::now();
        host.sh(script)?;
        Ok(begun.elapsed())
    };
    let stop = timed("systemctl stop docker.socket docker.service")?;
    let tar = timed("tar czf /root/swarm.tar.gz -C /var/lib/docker swarm")?;
    forget_starts(host)?;
    let start = timed("systemctl start docker.socket docker.service")?;
    host.wait_manager()?;
    host.sh("rm /root/swarm.tar.gz")?;
    let ms = |time: Duration| format!("{} ms", time.as_millis());
    Ok(row(name, &[ms(stop), ms(tar), ms(start), ms(stop + tar + start), "-".to_owned()]))
}

fn row(name: &str, cells: &[String]) -> String {
    cells.iter().fold(format!("{name:32}"), |line, cell| format!("{line} {cell:>12}"))
}

//! The guide's table of drop-ins: each one is written as in the table, on a host that needs it.

use std::fs;

use anyhow::{Context, Result, bail, ensure};
use swarmdr_tests::{
    lab::{Engine, Host, HostSpec, addr},
    packages::{self, checkout},
    s3::{ForwardProxy, Release},
    scenario::{CREDENTIALS, Site},
};

use super::unit;

const UNIT: &str = "swarmdr-backup.service";

/// A row of the table.
struct Row {
    case: String,
    /// Text for `systemctl edit`.
    drop_in: String,
}

fn rows() -> Result<Vec<Row>> {
    let guide = fs::read_to_string(checkout().join("packaging/docs/operations.md"))?;
    let (_, table) = guide.split_once("| case | drop-in |\n").context("the guide has no such table")?;
    let rows = table.lines().skip(1).map_while(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    rows.map(|row| {
        let (case, lines) = row.split_once(" | ").with_context(|| format!("`{row}` has no two columns"))?;
        let drop_in: Vec<&str> = lines.split('`').skip(1).step_by(2).collect();
        ensure!(drop_in.first() == Some(&"[Service]"), "`{row}` is no drop-in");
        Ok(Row { case: case.to_owned(), drop_in: drop_in.join("\n") })
    })
    .collect()
}

/// A host on which a row is needed: its configuration, and how to see that the row is needed and works.
struct Need {
    config: String,
    /// Whether the unit fails without the drop-in.
    fails_without: bool,
    /// Command whose output shows afterwards that it worked.
    shows: &'static str,
}

#[tokio::test]
async fn each_drop_in_of_the_guide_does_what_the_guide_says() -> Result<()> {
    let site = Site::new(Release::V20).await?;
    let host = site.lab.boot(HostSpec::new("m1", Engine::E26_1, addr(11)))?;
    host.swarm_init()?;
    host.create_secret("db-password", b"correct horse battery staple")?;
    host.apt_install(&packages::deb()?)?;
    site.configure_manager(&host)?;
    let proxy = ForwardProxy::in_lab(&site.lab)?;
    let rows = rows()?;
    ensure!(rows.len() >= 7, "only {} rows were read", rows.len());
    // The row that moves the engine's data comes last.
    let (moving, staying): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.case.contains("data-root"));
    for row in staying.into_iter().chain(moving) {
        follow(&site, &host, &proxy, row).with_context(|| row.case.clone())?;
        println!("{}: as the guide says", row.case);
    }
    Ok(())
}

fn follow(site: &Site, host: &Host, proxy: &ForwardProxy, row: &Row) -> Result<()> {
    let need = prepare(site, host, proxy, &row.case)?;
    site.configure(host, &need.config)?;
    if need.fails_without {
        let ended = backs_up(host)?;
        ensure!(!ended.0, "it works without the drop-in: {}", ended.1);
    }
    let own = site.lab.gateway_ip().to_string();
    host.write_file(&format!("/etc/systemd/system/{UNIT}.d/own.conf"), row.drop_in.replace("192.0.2.7", &own) + "\n")?;
    host.sh("systemctl daemon-reload")?;
    let (is_well, journal) = backs_up(host)?;
    ensure!(is_well, "it does not work with the drop-in: {journal}");
    let shown = host.sh(need.shows).with_context(|| journal.clone())?;
    ensure!(!shown.is_empty(), "nothing shows that it worked: {journal}");
    if row.case.contains("proxy") {
        ensure!(proxy.log().contains("CONNECT") || proxy.log().contains("PUT"), "nothing went through the proxy");
    }
    host.sh(&format!("rm -r /etc/systemd/system/{UNIT}.d; systemctl daemon-reload; systemctl reset-failed"))?;
    Ok(())
}

/// Runs the unit. Returns whether it made a backup without any attention, and its journal.
fn backs_up(host: &Host) -> Result<(bool, String)> {
    let since = host.sh("date +%s")?;
    let _ = host.run(&["systemctl", "start", UNIT])?;
    let journal = host.sh(&format!("journalctl --no-pager --output=cat --unit={UNIT} --since=@{since}"))?;
    host.wait_manager()?;
    Ok((unit(host, UNIT, "ExecMainStatus")? == "0" && unit(host, UNIT, "Result")? == "success", journal))
}

/// Prepares the host for a row, with a vault without a backup, so that one is due at once.
fn prepare(site: &Site, host: &Host, proxy: &ForwardProxy, case: &str) -> Result<Need> {
    let config = |name: &str| site.config(&format!("s3://vault/{name}"));
    let is_made = "swarmdr-agent list --json";
    Ok(match case {
        "the engine's data-root is elsewhere" => {
            host.write_file("/etc/docker/daemon.json", "{\"data-root\": \"/srv/docker\"}")?;
            host.sh("systemctl restart docker.service")?;
            host.wait_engine()?;
            host.swarm_init()?;
            Need { config: config("moved"), fails_without: true, shows: is_made }
        }
        "metrics for node_exporter (`watch.textfile_dir`; for the verify, drill and streams services too)" => {
            let directory = "/var/lib/prometheus/node-exporter";
            host.sh(&format!("mkdir -p {directory}"))?;
            let config = config("metrics") + &format!("\n[watch]\ntextfile_dir = \"{directory}\"\n");
            Need { config, fails_without: false, shows: "cat /var/lib/prometheus/node-exporter/*" }
        }
        "a vault in a directory" => {
            host.sh("install -d -m 700 /mnt/backups/swarm")?;
            let config = config("beside") + "\n[[vault]]\nurl = \"file:///mnt/backups/swarm\"\n";
            Need { config, fails_without: true, shows: "find /mnt/backups/swarm -name '*.swarmdr'" }
        }
        "the signing key sealed to this host" => {
            let sealed = "/etc/credstore.encrypted/swarmdr.signing-key";
            host.sh(&format!(
                "mkdir -p /etc/credstore.encrypted
                 systemd-creds setup
                 systemd-creds encrypt --with-key=host --name=swarmdr.signing-key /var/lib/swarmdr/keys/signing.key {sealed}
                 mv /var/lib/swarmdr/keys/signing.key /root/"
            ))?;
            Need { config: config("sealed"), fails_without: true, shows: is_made }
        }
        "credentials of S3 from a credential" => {
            // The key is back in its usual place.
            host.sh(&format!(
                "mv /root/signing.key /var/lib/swarmdr/keys/; rm -r /etc/credstore.encrypted; mkdir -p /etc/credstore; cp {CREDENTIALS} /etc/credstore/aws"
            ))?;
            let config = config("credential");
            let lines: Vec<&str> = config.lines().filter(|line| !line.starts_with("credentials_file")).collect();
            let shows = "AWS_SHARED_CREDENTIALS_FILE=/etc/credstore/aws swarmdr-agent list --json";
            Need { config: lines.join("\n") + "\n", fails_without: true, shows }
        }
        "a vault at a fixed address" => Need { config: config("address"), fails_without: false, shows: is_made },
        "a proxy's login from a credential" => {
            host.write_file("/etc/credstore/swarmdr.proxy-login", ForwardProxy::login())?;
            let config = config("proxy") + &format!("\n[network]\nproxy = \"{}\"\n", proxy.url());
            Need { config, fails_without: true, shows: "find /var/lib/swarmdr -maxdepth 1" }
        }
        other => bail!("no test follows the row `{other}`"),
    })
}

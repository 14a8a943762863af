//! The whole way: the state machine of `failover.yaml`, executed by the emulator, while this test plays EC2. When a group
//! is raised, a host is booted, and runs the user-data of its launch template as it is, with the rights of the shipped
//! policies.

use std::{fs, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use swarmdr_tests::{
    aws::Moto,
    lab::{Engine, Host, HostSpec, IMAGE, Role, addr},
    packages,
    s3::{Identity, Release},
    scenario::{Site, VAULT, agent, agent_json, describe_swarm, minisign_key_pair, populate, text},
};

use super::{create_recovery, create_stack, machine::Machine, rights_of, run_user_data, shipped, user_with};

/// Makes a site that leaves a sign of life, and dies. A service of it runs on a worker, which dies too.
fn dead_site(site: &Site) -> Result<Vec<String>> {
    let specs = [("m1", 11), ("w1", 21)].map(|(name, last)| HostSpec::new(name, Engine::E20_10, addr(last)));
    let [old, worker] = site.lab.boot_all(specs)?;
    old.swarm_init()?;
    populate(&old)?;
    worker.load_image()?;
    worker.join(&old, Role::Worker)?;
    let options = ["--detach", "--no-resolve-image", "--init", "--network=host", "--constraint=node.role==worker"];
    old.docker(&[&["service", "create", "--name=shift"], &options[..], &[IMAGE, "sleep", "3600"]].concat())?;
    worker.wait_containers("shift", 1)?;
    site.set_up_manager(&old)?;
    site.configure(&old, &format!("{}\n[standby]\nsign_of_life = \"2m\"\nsite = \"old\"\n", site.config(VAULT)))?;
    let before = describe_swarm(&old)?;
    agent_json(&old, 0, &["backup"])?;
    agent_json(&old, 0, &["life"])?;
    old.destroy()?;
    worker.destroy()?;
    Ok(before)
}

/// What the operator has made beforehand, and put into secrets.
struct Region<'a> {
    site: &'a Site,
    machine: Machine<'a>,
    cluster: String,
    /// Whoever has the policies of a restored manager.
    manager: Identity,
    /// Whoever has the policy of a host that watches.
    watch: Identity,
}

impl<'a> Region<'a> {
    fn new(site: &'a Site, moto: &'a Moto, cluster: &str) -> Result<Self> {
        let secret = |name: &str, text: &str| -> Result<String> {
            let file = site.lab.dir().join(name);
            fs::write(&file, text)?;
            moto.ask(&["create-secret", name, &file.to_string_lossy()])
        };
        let (signing, signing_public) = minisign_key_pair()?;
        let (promoter, promoter_public) = minisign_key_pair()?;
        let vault = create_stack(moto, "vault", "vault.yaml", &[("BucketName", "swarmdr-vault")])?;
        let secrets = [
            secret("swarmdr-identity", site.identity())?,
            secret("swarmdr-signing", &signing)?,
            secret("swarmdr-promoter", &promoter)?,
        ];
        let [identity, signing, promoter] = &secrets;
        let others = [
            ("GrowTo", "3"),
            ("StorePolicyArn", text(&vault, "/outputs/StorePolicyArn")?),
            ("SigningKeySecret", signing),
            ("SigningPublicKey", &signing_public),
            ("PromoterKeySecret", promoter),
            ("Promoters", &promoter_public),
        ];
        let policies = [text(&vault, "/outputs/RestorePolicyArn")?, ""];
        let recovery = create_recovery(moto, site, identity, policies, &others)?;
        // Growing and booting hosts take longer than a second a look.
        let others = [("Cluster", cluster), ("Managers", "3"), ("MostLooks", "600")];
        let machine = Machine::new(moto, recovery, &others)?;
        let manager = user_with(site, "recovery", &["policy-restore.json", "policy-store.json"])?;
        let watch = user_with(site, "watch", &["policy-watch.json"])?;
        Ok(Self { site, machine, cluster: cluster.to_owned(), manager, watch })
    }

    fn boot(&self, name: &str, last: u8) -> Result<Host> {
        let host = self.site.lab.boot(HostSpec::new(name, Engine::E20_10, addr(last)).with(packages::TOOLS))?;
        host.load_image()?;
        rights_of(&host, &self.manager)?;
        host.write_file("/root/package.deb", fs::read(packages::deb()?)?)?;
        Ok(host)
    }

    /// Looks for signs of life of a swarm as the host that watches does, and returns whether one was reported.
    fn report(&self, host: &Host, cluster: &str) -> Result<bool> {
        host.write_file("/root/sign-of-life", fs::read(shipped("sign-of-life"))?)?;
        let tests = "AWS_ACCESS_KEY_ID=tests AWS_SECRET_ACCESS_KEY=tests AWS_DEFAULT_REGION=us-east-1";
        let endpoint = self.machine.moto.endpoint();
        let wrapper = format!("#!/bin/sh\nexec env {tests} /usr/bin/aws --endpoint-url {endpoint} \"$@\"\n");
        host.write_file("/root/bin/aws", wrapper)?;
        host.sh("chmod 755 /root/bin/aws")?;
        let sign = ["sh", "/root/sign-of-life", "--site", "--cluster", cluster, "swarmdr-vault"];
        let output = self.as_watch(host, &sign)?;
        println!("{}: {}{}", output.status, output.stdout, output.stderr);
        Ok(output.status.success())
    }

    fn as_watch(&self, host: &Host, words: &[&str]) -> Result<swarmdr_tests::lab::Output> {
        let (access, secret) = (&self.watch.access_key, &self.watch.secret_key);
        let environment = [
            "env".to_owned(),
            "PATH=/root/bin:/usr/bin:/bin:/usr/sbin:/sbin".to_owned(),
            format!("AWS_ACCESS_KEY_ID={access}"),
            format!("AWS_SECRET_ACCESS_KEY={secret}"),
        ];
        let environment: Vec<&str> = environment.iter().map(String::as_str).collect();
        host.run(&[&environment, words].concat())
    }

    fn heard(&self, cluster: &str) -> Result<String> {
        let dimensions = format!("Bucket=swarmdr-vault,Cluster={cluster}");
        Ok(self.machine.moto.ask(&["metric-sum", "swarmdr", "SiteAlive", &dimensions])?.trim().to_owned())
    }
}

fn cluster_of(described: &[String]) -> Result<String> {
    let line = described.iter().find_map(|line| line.strip_prefix("cluster "));
    Ok(line.context("the swarm has no id")?.to_owned())
}

#[tokio::test]
async fn the_machine_brings_the_swarm_up_once_its_site_is_silent() -> Result<()> {
    let site = Site::new(Release::V20).await?;
    let before = dead_site(&site)?;
    let moto = Moto::start(&site.lab)?;
    let region = Region::new(&site, &moto, &cluster_of(&before)?)?;
    let machine = &region.machine;
    let old = moto.ask(&["old-manager", "old"])?;

    // The vault has a fresh sign of life: what the machine is told are the agent's own words.
    let execution = machine.start_and_approve()?;
    machine.raised("ManagerGroup", "1")?;
    assert_eq!(moto.ask(&["instance-state", &old])?, "stopped", "the old manager was not stopped first");
    let manager = region.boot("recovered", 11)?;
    let script = machine.user_data("ManagerTemplate")?;
    ensure!(run_user_data(&manager, &script).is_err(), "a swarm was brought up beside a living one");
    let why = machine.failed(&execution)?;
    ensure!(why.contains("refused: ") && why.contains("another site of this swarm is alive: site old"), "{why}");
    ensure!(region.report(&manager, &region.cluster)?, "the sign of life is not reported");
    assert_eq!(region.heard(&region.cluster)?, "1.0");
    // Another swarm of the same vault is not alive because this one is.
    let other = "a".repeat(25);
    ensure!(!region.report(&manager, &other)?, "a swarm that is not there is reported");
    assert_eq!(region.heard(&other)?, "0");

    // By the vault's clock it is silent for ten minutes. The operator lowers the group, and lets it be tried again.
    site.rgw.restart_gateway_at("+10m")?;
    ensure!(!region.report(&manager, &region.cluster)?, "a silent site is reported");
    machine.size("ManagerGroup", Some("0"))?;
    let execution = machine.start_and_approve()?;
    machine.raised("ManagerGroup", "1")?;
    let said = run_user_data(&manager, &script)?;
    ensure!(said.contains("is back from backup"), "{said}");
    assert_eq!(describe_swarm(&manager)?, before);
    nothing_is_left_of_the_secrets(&manager)?;

    // The group grows, and the parameter names all managers.
    machine.raised("ManagerGroup", "3")?;
    let others = [region.boot("second", 13)?, region.boot("third", 14)?];
    for host in &others {
        run_user_data(host, &script)?;
    }
    let all = [11, 13, 14].map(|last| format!("{}:2377", addr(last))).join("\n");
    manager.wait_for("all managers to be in the parameter", Duration::from_secs(300), || {
        Ok((moto.ask(&["parameter", "/recovery/managers"])? == all).then_some(()))
    })?;
    machine.raised("WorkerGroup", "1")?;
    the_site_signs_with_its_own_key(&region, &others[0])?;

    // The service that ran on the old worker has no task, so the traffic waits. A worker joins through the others while the
    // first manager is away.
    manager.wait_for("the leader to say what is missing", Duration::from_secs(180), || {
        let said = machine.parameter("-report", None)?;
        ensure!(said.contains("1 services without a running task (shift)"), "it says {said}");
        Ok(Some(()))
    })?;
    ensure!(machine.switched()?.is_empty(), "the traffic is switched before services run");
    manager.cut()?;
    let worker = region.boot("worker", 12)?;
    run_user_data(&worker, &machine.user_data("WorkerTemplate")?)?;
    worker.wait_containers("shift", 1)?;

    let ended = machine.ended(&execution)?;
    ensure!(ended["status"] == "SUCCEEDED", "{ended:#}");
    let switched = machine.switched()?;
    ensure!(switched.contains("The swarm is served from us-east-1."), "the traffic is not switched: {switched}");
    let mail = machine.mail("traffic is switched")?;
    ensure!(mail.contains("The swarm is grown") && mail.contains("0 services without a running task"), "{mail}");
    Ok(())
}

/// The host has no file with what opens archives or signs claims, and no setting that names one.
fn nothing_is_left_of_the_secrets(host: &Host) -> Result<()> {
    let files = host.sh("ls /run/swarmdr-identity.* /run/swarmdr-promoter.* 2>/dev/null | wc -l")?;
    assert_eq!(files, "0");
    let config = host.sh("swarmdr-agent config; grep -r promoter_key /etc/swarmdr/agent.d || true")?;
    ensure!(!config.contains("/run/swarmdr-promoter"), "a file that is gone is configured: {config}");
    let claims = agent_json(host, 0, &["list", "--claims"])?;
    ensure!(claims.to_string().contains("\"aws\""), "the restore made no claim: {claims:#}");
    Ok(())
}

/// Managers of the recovered site leave signs of life by their timer, and make backups, which a host that only watches
/// verifies.
fn the_site_signs_with_its_own_key(region: &Region<'_>, host: &Host) -> Result<()> {
    let sign = |seen: &Value| {
        let signs = seen["signs"].as_array().into_iter().flatten();
        signs.filter(|sign| sign["site"] == "aws").count()
    };
    host.wait_for("signs of life of the new site", Duration::from_secs(120), || {
        let output = agent(host, &["life", "--look", "--json"])?;
        let seen: Value = serde_json::from_str(&output.stdout)?;
        Ok((seen["alive"] == true && sign(&seen) > 0).then_some(()))
    })?;
    ensure!(region.report(host, &region.cluster)?, "the new site is not reported as alive");
    // The first signs are those of another manager; each one begins when its own task of a manager runs.
    host.wait_for("the timers to be enabled", Duration::from_secs(180), || {
        let enabled = host.run(&["systemctl", "is-enabled", "swarmdr-backup.timer", "swarmdr-life.timer"])?;
        Ok(enabled.status.success().then_some(()))
    })?;
    let made = agent_json(host, 0, &["backup"])?;
    let id = text(&made, "/id")?;
    let listed = region.as_watch(host, &["swarmdr-agent", "list", "--max-age", "1h"])?;
    ensure!(listed.stdout.contains(id), "{id} is not seen: {}{}", listed.stdout, listed.stderr);
    Ok(())
}

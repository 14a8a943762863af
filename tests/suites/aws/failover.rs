//! The state machine of `failover.yaml`, executed by the emulator, while this test plays EC2: when a group is raised, a
//! host is booted, and runs the user-data of its launch template as it is.

use std::{collections::BTreeSet, fs, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use swarmdr_tests::{
    aws::Moto,
    lab::{Engine, Host, HostSpec, IMAGE, Lab, addr, wait_for},
    packages,
    s3::Release,
    scenario::{Site, VAULT, agent_json, describe_swarm, populate, text},
};

use super::{create_recovery, create_stack, instance_role, run_user_data, shipped};

/// Time for the machine to take a few steps, of which each takes a second.
const LIMIT: Duration = Duration::from_secs(180);

/// Returns the names of the states that a state may be followed by.
fn followers(state: &Value) -> Vec<&str> {
    let own = ["Next", "Default"].into_iter().filter_map(|it| state[it].as_str());
    let branches = ["Choices", "Catch"].into_iter().filter_map(|it| state[it].as_array()).flatten();
    own.chain(branches.filter_map(|branch| branch["Next"].as_str())).collect()
}

/// The linter of templates does not see this.
#[test]
fn every_state_is_reached_and_leads_somewhere() -> Result<()> {
    let lab = Lab::new()?;
    let moto = Moto::start(&lab)?;
    let machine: Value =
        serde_json::from_str(&moto.ask(&["definition", &shipped("failover.yaml").display().to_string()])?)?;
    let states = machine["States"].as_object().context("there are no states")?;
    let (mut reached, mut next) = (BTreeSet::new(), vec![text(&machine, "/StartAt")?]);
    while let Some(name) = next.pop() {
        let state = states.get(name).with_context(|| format!("there is no state {name}"))?;
        if reached.insert(name) {
            let followers = followers(state);
            let ends = matches!(state["Type"].as_str(), Some("Succeed" | "Fail"));
            ensure!(followers.is_empty() == ends, "{name} leads nowhere: {state:#}");
            // Whatever goes wrong is told to a person.
            let is_task = state["Type"] == "Task";
            ensure!(!is_task || state["Catch"][0]["ErrorEquals"][0] == "States.ALL", "{name} catches nothing");
            next.extend(followers);
        }
    }
    assert_eq!(reached, states.keys().map(String::as_str).collect(), "not all states are reached");
    Ok(())
}

/// The stacks of the standby region, and what the test does in place of EC2 and of a person.
struct Region<'a> {
    site: &'a Site,
    moto: &'a Moto,
    recovery: Value,
    machine: String,
    mails: String,
    /// The bucket whose object switches the traffic.
    switch: String,
}

impl Region<'_> {
    /// Starts the machine, as the rule does, and answers its mail.
    fn start(&self) -> Result<String> {
        let execution = self.moto.ask(&["start", &self.machine])?;
        let mail = wait_for("the machine to ask a person", LIMIT, || {
            let mail = self.moto.ask(&["mail", &self.mails])?;
            Ok((mail.contains("--task-token")).then_some(mail))
        })
        .with_context(|| self.moto.ask(&["execution", &execution]).unwrap_or_default())?;
        ensure!(mail.contains("aws stepfunctions send-task-success --region us-east-1"), "{mail}");
        let token = mail.split("--task-token ").nth(1).and_then(|rest| rest.split_whitespace().next());
        self.moto.ask(&["approve", token.context("the mail has no token")?])?;
        Ok(execution)
    }

    fn desired(&self, group: &str, number: &str) -> Result<()> {
        let group = text(&self.recovery, &format!("/outputs/{group}"))?;
        wait_for("the machine to raise a group", LIMIT, || {
            Ok((self.moto.ask(&["desired", group])?.trim() == number).then_some(()))
        })
    }

    fn ended(&self, execution: &str) -> Result<Value> {
        wait_for("the machine to end", LIMIT, || {
            let seen: Value = serde_json::from_str(&self.moto.ask(&["execution", execution])?)?;
            Ok((seen["status"] != "RUNNING").then_some(seen))
        })
    }

    fn user_data(&self, template: &str) -> Result<String> {
        self.moto.ask(&["user-data", text(&self.recovery, &format!("/resources/{template}"))?])
    }

    fn boot(&self, name: &str, last: u8) -> Result<Host> {
        let host = self.site.lab.boot(HostSpec::new(name, Engine::E20_10, addr(last)).with(packages::TOOLS))?;
        host.load_image()?;
        instance_role(self.site, &host)?;
        host.write_file("/root/package.deb", fs::read(packages::deb()?)?)?;
        host.write_file("/usr/local/bin/docker-credential-ecr-login", "#!/bin/sh\nexit 1\n")?;
        host.sh("chmod 755 /usr/local/bin/docker-credential-ecr-login")?;
        Ok(host)
    }
}

/// Makes a site that leaves a sign of life, and dies.
fn dead_site(site: &Site) -> Result<Vec<String>> {
    let old = site.lab.boot(HostSpec::new("m1", Engine::E20_10, addr(11)))?;
    old.swarm_init()?;
    populate(&old)?;
    site.set_up_manager(&old)?;
    site.configure(&old, &format!("{}\n[standby]\nsign_of_life = \"2m\"\nsite = \"old\"\n", site.config(VAULT)))?;
    let before = describe_swarm(&old)?;
    agent_json(&old, 0, &["backup"])?;
    agent_json(&old, 0, &["life"])?;
    old.destroy()?;
    Ok(before)
}

fn region<'a>(site: &'a Site, moto: &'a Moto) -> Result<Region<'a>> {
    let secret = site.lab.dir().join("identity.txt");
    fs::write(&secret, site.identity())?;
    let secret = moto.ask(&["create-secret", "swarmdr-identity", &secret.to_string_lossy()])?;
    let vault = create_stack(moto, "vault", "vault.yaml", &[("BucketName", "swarmdr-vault")])?;
    let recovery = create_recovery(moto, site, &secret, [text(&vault, "/outputs/RestorePolicyArn")?, ""])?;
    let parameters = [
        ("Bucket", "swarmdr-vault"),
        ("OldSite", "old"),
        ("RecheckSeconds", "1"),
        ("PollSeconds", "1"),
        ("SettleSeconds", "1"),
        ("Managers", "1"),
        ("Workers", "1"),
        ("ManagerGroup", text(&recovery, "/outputs/ManagerGroup")?),
        ("WorkerGroup", text(&recovery, "/outputs/WorkerGroup")?),
        ("StateParameter", text(&recovery, "/outputs/State")?),
    ];
    let failover = create_stack(moto, "failover", "failover.yaml", &parameters)?;
    moto.ask(&["silence", text(&failover, "/outputs/Alarm")?])?;
    let machine = moto.ask(&["really", text(&failover, "/outputs/Machine")?])?;
    let mails = moto.ask(&["subscribe", text(&failover, "/outputs/TopicArn")?])?;
    let switch = text(&failover, "/outputs/SwitchBucket")?.to_owned();
    Ok(Region { site, moto, recovery, machine, mails, switch })
}

/// Reports to the emulator whether the vault has a fresh sign of life; true if it has.
fn report(moto: &Moto, host: &Host) -> Result<bool> {
    host.write_file("/root/sign-of-life", fs::read(shipped("sign-of-life"))?)?;
    let environment = "AWS_ACCESS_KEY_ID=tests AWS_SECRET_ACCESS_KEY=tests AWS_DEFAULT_REGION=us-east-1";
    let wrapper = format!("#!/bin/sh\nexec env {environment} /usr/bin/aws --endpoint-url {} \"$@\"\n", moto.endpoint());
    host.write_file("/root/bin/aws", wrapper)?;
    host.sh("chmod 755 /root/bin/aws")?;
    let output = host.run(&[
        "env",
        "PATH=/root/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        "sh",
        "/root/sign-of-life",
        "--site",
        "swarmdr-vault",
    ])?;
    println!("{}{}", output.stdout, output.stderr);
    Ok(output.status.success())
}

#[tokio::test]
async fn the_machine_brings_the_swarm_up_once_its_site_is_silent() -> Result<()> {
    let site = Site::new(Release::V20).await?;
    let before = dead_site(&site)?;
    let moto = Moto::start(&site.lab)?;
    let region = region(&site, &moto)?;
    let old = moto.ask(&["old-manager", "old"])?;
    let heard = || moto.ask(&["metric-sum", "swarmdr", "SiteAlive", "Bucket=swarmdr-vault"]);

    // The vault has a fresh sign of life: what the machine is told are the agent's own words.
    let execution = region.start()?;
    region.desired("ManagerGroup", "1")?;
    assert_eq!(moto.ask(&["instance-state", &old])?, "stopped", "the old manager was not stopped first");
    let manager = region.boot("recovered", 11)?;
    let script = region.user_data("ManagerTemplate")?;
    ensure!(run_user_data(&manager, &script).is_err(), "a swarm was brought up beside a living one");
    let refused = region.ended(&execution)?;
    ensure!(refused["status"] == "FAILED", "{refused:#}");
    let why = text(&refused, "/cause")?;
    ensure!(why.contains("refused: ") && why.contains("another site of this swarm is alive: site old"), "{why}");
    ensure!(report(&moto, &manager)? && heard()?.trim() == "1.0", "the sign of life is not reported: {}", heard()?);

    // By the vault's clock it is silent for ten minutes. The operator lowers the group, and lets it be tried again.
    site.rgw.restart_gateway_at("+10m")?;
    ensure!(!report(&moto, &manager)? && heard()?.trim() == "1.0", "a silent site is reported: {}", heard()?);
    moto.ask(&["desired", text(&region.recovery, "/outputs/ManagerGroup")?, "0"])?;
    let execution = region.start()?;
    region.desired("ManagerGroup", "1")?;
    let said = run_user_data(&manager, &script)?;
    ensure!(said.contains("is back from backup"), "{said}");
    assert_eq!(describe_swarm(&manager)?, before);

    region.desired("WorkerGroup", "1")?;
    let worker = region.boot("worker", 12)?;
    run_user_data(&worker, &region.user_data("WorkerTemplate")?)?;
    let options = ["--detach", "--no-resolve-image", "--init", "--network=host", "--constraint=node.role==worker"];
    let service = [&["service", "create", "--name=shift"], &options[..], &[IMAGE, "sleep", "600"]].concat();
    manager.docker(&service)?;
    worker.wait_containers("shift", 1)?;

    let ended = region.ended(&execution)?;
    ensure!(ended["status"] == "SUCCEEDED", "{ended:#}");
    let machines = moto.ask(&["object-of", &region.switch, "failover"])?;
    ensure!(machines.contains("The swarm is served from us-east-1."), "the traffic is not switched: {machines}");
    Ok(())
}

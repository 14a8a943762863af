//! The ways that the machine goes when not all is well. No hosts are booted for these: the test says what managers would.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use swarmdr_tests::{
    aws::Moto,
    lab::{Lab, wait_for},
    scenario::text,
};

use super::{
    create_stack,
    machine::{CLUSTER, Machine},
    shipped,
};

const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
/// No person is asked, and little is waited for: long enough for a few words with an emulator on a busy machine.
const ALONE: [(&str, &str); 3] = [("AutoPromote", "true"), ("PollSeconds", "15"), ("MostLooks", "3")];

/// Groups whose instances nobody boots.
fn empty_groups(moto: &Moto) -> Result<Value> {
    let network: Value = serde_json::from_str(&moto.ask(&["network"])?)?;
    let recipient = format!("age1{}", "q".repeat(58));
    let digest = "0".repeat(64);
    let policy = "arn:aws:iam::aws:policy/ReadOnlyAccess";
    let parameters = [
        ("VpcId", text(&network, "/vpc")?),
        ("SubnetId", text(&network, "/subnet")?),
        ("Readdress", "true"),
        ("VaultUrl", "s3://vault/prod"),
        ("VaultRegion", "us-east-1"),
        ("RestorePolicyArn", policy),
        ("TrustedKey", KEY),
        ("Recipient", &recipient),
        ("IdentitySecret", "arn:aws:secretsmanager:us-east-1:123456789012:secret:identity"),
        ("PackageUrl", "https://packages.example/swarmdr-agent.deb"),
        ("PackageSha256", &digest),
    ];
    create_stack(moto, "recovery", "recovery.yaml", &parameters)
}

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
            let last = state["Catch"].as_array().and_then(|all| all.last());
            let catches = last.is_some_and(|it| it["ErrorEquals"][0] == "States.ALL");
            ensure!(!is_task || catches, "{name} catches nothing");
            next.extend(followers);
        }
    }
    assert_eq!(reached, states.keys().map(String::as_str).collect(), "not all states are reached");
    Ok(())
}

/// Whatever is waited for by looking again and again has an end: a state that waits is left by a count.
#[test]
fn every_wait_of_the_machine_has_an_end() -> Result<()> {
    let lab = Lab::new()?;
    let moto = Moto::start(&lab)?;
    let machine: Value =
        serde_json::from_str(&moto.ask(&["definition", &shipped("failover.yaml").display().to_string()])?)?;
    let states = machine["States"].as_object().context("there are no states")?;
    let mut loops = 0;
    for (name, state) in states.iter().filter(|(_, state)| state["Type"] == "Choice") {
        // A choice that leads back to a wait is a loop.
        let back = followers(state).into_iter().any(|it| states[it]["SecondsPath"] == "$.settings.poll");
        if back {
            loops += 1;
            let counts = state["Choices"].as_array().into_iter().flatten();
            let ends = counts.filter(|it| it["NumericGreaterThanEqualsPath"] == "$.settings.mostLooks").count();
            ensure!(ends == 1, "{name} may lead back for ever: {state:#}");
        }
    }
    ensure!(loops == 4, "{loops} loops were found");
    // Each of these alone keeps the traffic away.
    let switches = states["IsServing"]["Choices"][0]["And"].as_array().context("it switches by less")?;
    let asked: BTreeSet<&str> = switches.iter().filter_map(|it| it["Variable"].as_str()).collect();
    let all = ["nodes", "unknown", "services", "without", "superseded"].map(|it| format!("$.report.seen.{it}"));
    assert_eq!(asked, all.iter().map(String::as_str).collect());
    Ok(())
}

#[test]
fn a_site_that_is_back_when_a_person_answers_is_left_alone() -> Result<()> {
    let lab = Lab::new()?;
    let moto = Moto::start(&lab)?;
    let machine = Machine::new(&moto, empty_groups(&moto)?, &[])?;
    let old = moto.ask(&["old-manager", "old"])?;
    let execution = machine.start()?;
    let token = machine.question("leaves no signs of life")?;
    machine.alarm("OK")?;
    moto.ask(&["approve", &token])?;
    let ended = machine.ended(&execution)?;
    ensure!(ended["status"] == "SUCCEEDED", "{ended:#}");
    assert_eq!(moto.ask(&["instance-state", &old])?, "running", "a living site was stopped");
    assert_eq!(machine.size("ManagerGroup", None)?, "0");
    machine.mail("leaves signs of life again. Nothing was stopped or started")?;
    Ok(())
}

#[test]
fn old_managers_that_do_not_stop_are_told_to_a_person() -> Result<()> {
    let lab = Lab::new()?;
    let moto = Moto::start(&lab)?;
    // Between the stop and the next look there is time to do what the old site's own group would.
    let machine = Machine::new(&moto, empty_groups(&moto)?, &[("PollSeconds", "20"), ("MostLooks", "2")])?;
    let old = moto.ask(&["old-manager", "old"])?;
    let execution = machine.start_and_approve()?;
    wait_for("the old manager to be stopped", Duration::from_secs(120), || {
        Ok((moto.ask(&["instance-state", &old])? == "stopped").then_some(()))
    })?;
    moto.ask(&["old-manager", "old"])?;
    let mail = machine.mail("Stopping the old managers failed: StillThere")?;
    for what in ["Name=tag:swarmdr-site,Values=old", "whether a group starts them again", "send-task-success"] {
        ensure!(mail.contains(what), "{what} is not in: {mail}");
    }
    assert_eq!(machine.size("ManagerGroup", None)?, "0", "a group was raised beside old managers");
    let token = mail.split("--task-token ").nth(1).and_then(|rest| rest.split_whitespace().next());
    moto.ask(&["decline", token.context("the mail has no token")?])?;
    let why = machine.failed(&execution)?;
    ensure!(why.contains("Declined"), "{why}");
    Ok(())
}

#[test]
fn a_site_that_is_back_when_it_is_told_to_be_cut_off_is_left_alone() -> Result<()> {
    let lab = Lab::new()?;
    let moto = Moto::start(&lab)?;
    let machine = Machine::new(&moto, empty_groups(&moto)?, &[("PollSeconds", "20"), ("MostLooks", "2")])?;
    let old = moto.ask(&["old-manager", "old"])?;
    let execution = machine.start_and_approve()?;
    wait_for("the old manager to be stopped", Duration::from_secs(120), || {
        Ok((moto.ask(&["instance-state", &old])? == "stopped").then_some(()))
    })?;
    moto.ask(&["old-manager", "old"])?;
    let token = machine.question("Stopping the old managers failed: StillThere")?;
    machine.alarm("OK")?;
    moto.ask(&["approve", &token])?;
    let ended = machine.ended(&execution)?;
    ensure!(ended["status"] == "SUCCEEDED", "{ended:#}");
    assert_eq!(machine.size("ManagerGroup", None)?, "0", "a group was raised beside a living site");
    machine.mail("Some of its managers in this region may have been stopped")?;
    Ok(())
}

/// An alarm whose state is not known does not say that the site is silent.
#[test]
fn a_person_is_asked_if_the_alarm_does_not_ring() -> Result<()> {
    let lab = Lab::new()?;
    let moto = Moto::start(&lab)?;
    let machine = Machine::new(&moto, empty_groups(&moto)?, &[("AutoPromote", "true")])?;
    machine.alarm("INSUFFICIENT_DATA")?;
    let execution = machine.start()?;
    let token = machine.question("leaves no signs of life")?;
    assert_eq!(machine.size("ManagerGroup", None)?, "0");
    moto.ask(&["decline", &token])?;
    let why = machine.failed(&execution)?;
    ensure!(why.contains("Declined"), "{why}");
    Ok(())
}

#[test]
fn an_answer_of_last_time_counts_for_nothing_and_none_has_an_end() -> Result<()> {
    let lab = Lab::new()?;
    let moto = Moto::start(&lab)?;
    let machine = Machine::new(&moto, empty_groups(&moto)?, &ALONE)?;
    machine.parameter("", Some("restored"))?;
    let execution = machine.start()?;
    machine.raised("ManagerGroup", "1")?;
    let waits = machine.parameter("", None)?;
    let name = execution.rsplit(':').next().context("the execution has no name")?;
    assert_eq!(waits, format!("waiting for {name}"));
    // Somebody removes it: that is no answer, and no end either.
    moto.ask(&["delete-parameter", text(&machine.recovery, "/outputs/State")?])?;
    let why = machine.failed(&execution)?;
    for what in
        ["NoAnswer", "/recovery/state is: not to be read, ", "/var/log/cloud-init-output.log", "set the group to 0"]
    {
        ensure!(why.contains(what), "{what} is not in: {why}");
    }
    assert_eq!(machine.size("WorkerGroup", None)?, "0");
    ensure!(machine.switched()?.is_empty(), "the traffic is switched");
    Ok(())
}

#[test]
fn a_refusal_ends_the_machine_and_says_how_to_go_on() -> Result<()> {
    let lab = Lab::new()?;
    let moto = Moto::start(&lab)?;
    let machine = Machine::new(&moto, empty_groups(&moto)?, &[("AutoPromote", "true")])?;
    let execution = machine.start()?;
    machine.raised("ManagerGroup", "1")?;
    machine.parameter("", Some("refused: another site is alive"))?;
    let why = machine.failed(&execution)?;
    ensure!(why.contains("NotRestored") && why.contains("refused: another site is alive"), "{why}");
    ensure!(why.contains("to 0, and start the machine"), "{why}");
    Ok(())
}

#[test]
fn traffic_comes_only_when_the_leader_says_now_that_services_run() -> Result<()> {
    let lab = Lab::new()?;
    let moto = Moto::start(&lab)?;
    // The group is to grow, and does not: one manager must do.
    let machine = Machine::new(&moto, empty_groups(&moto)?, &[&ALONE[..], &[("Managers", "3")]].concat())?;
    let report = |nodes: u8, services: u8, without: u8, superseded: i8, text: &str| {
        json!({ "nodes": nodes, "unknown": 0, "services": services, "without": without, "superseded": superseded,
            "text": text })
        .to_string()
    };
    let serving = report(2, 1, 0, 0, "2 nodes are ready");
    // Last time it served, and a living swarm is not raised anew.
    machine.parameter("-report", Some(&serving))?;
    machine.size("ManagerGroup", Some("1"))?;
    machine.parameter("", Some("restored"))?;
    let why = machine.failed(&machine.start()?)?;
    for what in [
        "NotServing",
        "no manager has reported",
        "1 workers and the leader are wanted",
        "docker node ls",
        "--key failover",
    ] {
        ensure!(why.contains(what), "{what} is not in: {why}");
    }
    ensure!(machine.switched()?.is_empty(), "the traffic is switched");
    assert_eq!((machine.size("ManagerGroup", None)?, machine.size("WorkerGroup", None)?), ("3".into(), "1".into()));

    machine.parameter("", Some("grown"))?;
    // The last: a swarm that is up since an earlier day, and was taken over since.
    for not in [report(2, 1, 1, 0, "web does not run"), report(2, 1, 0, 1, "another site has this swarm")] {
        let execution = machine.start()?;
        say_when_asked(&machine, &not)?;
        let why = machine.failed(&execution)?;
        let text = serde_json::from_str::<Value>(&not)?;
        ensure!(why.contains("NotServing") && why.contains(text["text"].as_str().unwrap_or("?")), "{why}");
        ensure!(machine.switched()?.is_empty(), "the traffic is switched: {not}");
    }
    let execution = machine.start()?;
    say_when_asked(&machine, &serving)?;
    let ended = machine.ended(&execution)?;
    ensure!(ended["status"] == "SUCCEEDED", "{ended:#}");
    ensure!(machine.switched()?.contains("The swarm is served from us-east-1."), "the traffic is not switched");
    let mail = machine.mail("traffic is switched")?;
    ensure!(mail.contains("grown in us-east-1") && mail.contains("2 nodes are ready"), "{mail}");
    Ok(())
}

/// Reports as a leader does, once the machine has begun its question anew.
fn say_when_asked(machine: &Machine<'_>, report: &str) -> Result<()> {
    machine.parameter("-report", Some("{}"))?;
    wait_for("the machine to ask", Duration::from_secs(120), || {
        Ok(machine.parameter("-report", None)?.contains("no manager has reported").then_some(()))
    })?;
    machine.parameter("-report", Some(report)).map(drop)
}

/// Statements of a role's own policies, and the policies that are attached to it.
fn role(moto: &Moto, stack: &Value, name: &str) -> Result<(String, Value)> {
    let name = text(stack, &format!("/resources/{name}"))?;
    let role: Value = serde_json::from_str(&moto.ask(&["role", name])?)?;
    Ok((role["own"].to_string(), role["attached"].clone()))
}

#[test]
fn roles_may_what_they_need() -> Result<()> {
    let lab = Lab::new()?;
    let moto = Moto::start(&lab)?;
    let groups = empty_groups(&moto)?;
    let (own, attached) = role(&moto, &groups, "WorkerRole")?;
    ensure!(attached == Value::Array(Vec::new()), "workers have {attached}");
    ensure!(!own.contains("secretsmanager") && !own.contains("s3:"), "workers may read more than the token: {own}");
    ensure!(own.contains("/worker-token") && own.contains("/managers") && !own.contains("/state"), "{own}");
    let (own, _) = role(&moto, &groups, "Role")?;
    ensure!(own.contains("WhatOpensTheArchivesAndSignsClaims"), "{own}");

    let vault = create_stack(&moto, "vault", "vault.yaml", &[("BucketName", "swarmdr-vault")])?;
    // The emulator does not attach policies of the same stack.
    let template = std::fs::read_to_string(shipped("vault.yaml"))?;
    let role = template.split("  WatchRole:\n").nth(1).and_then(|rest| rest.split("\n\n").next());
    let attached = role.and_then(|role| role.split("ManagedPolicyArns:\n").nth(1)).context("there is no role")?;
    let attached: Vec<&str> = attached.lines().map(|line| line.trim_start_matches([' ', '-'])).collect();
    assert_eq!(attached, ["!Ref WatchPolicy", "!Ref SignOfLifePolicy"]);
    let watches = moto.ask(&["policy", text(&vault, "/outputs/WatchPolicyArn")?])?;
    ensure!(!watches.contains("Put") && watches.contains("s3:GetObject"), "{watches}");
    Ok(())
}

/// The emulator does not know what an alarm makes of its metrics.
#[test]
fn alarms_hear_what_is_reported_and_nothing_else() -> Result<()> {
    let recovery = std::fs::read_to_string(shipped("recovery.yaml"))?;
    let alarm = recovery.split("  NoManager:\n").nth(1).context("there is no alarm")?;
    for has in [
        "Expression: IF(wanted > 0 AND FILL(there, 0) < 1, 1, 0)\n",
        "MetricName: GroupDesiredCapacity\n",
        "TreatMissingData: notBreaching\n",
    ] {
        ensure!(alarm.contains(has), "the alarm for managers has no {has}");
    }
    ensure!(recovery.contains("Metrics: [GroupDesiredCapacity, GroupInServiceInstances]\n"), "nothing is measured");
    let failover = std::fs::read_to_string(shipped("failover.yaml"))?;
    let alarm = failover.split("  NoSignOfLife:\n").nth(1).context("there is no alarm")?;
    let alarm = alarm.split("  Rule:\n").next().unwrap_or_default();
    for has in ["MetricName: SiteAlive\n", "- Name: Bucket\n", "- Name: Cluster\n", "TreatMissingData: breaching\n"] {
        ensure!(alarm.contains(has), "the alarm for signs of life has no {has}");
    }
    assert_eq!(CLUSTER.len(), 25);
    Ok(())
}

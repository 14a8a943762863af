//! The state machine of `failover.yaml` in the emulator, and what a test does there in place of a person and of EC2.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use swarmdr_tests::{aws::Moto, lab::wait_for, scenario::text};

use super::create_stack;

/// Time for the machine to take some steps, of which each takes a second, while hosts boot beside it.
const LIMIT: Duration = Duration::from_secs(300);

/// Any cluster id, for tests without a swarm.
pub const CLUSTER: &str = "w1ymnkr1qaqfdkyvdpgekypgb";

/// The two stacks of a standby region.
pub struct Machine<'a> {
    pub moto: &'a Moto,
    pub recovery: Value,
    alarm: String,
    arn: String,
    mails: String,
    /// The bucket whose object switches the traffic.
    switch: String,
}

impl<'a> Machine<'a> {
    /// Creates the stack of the machine beside that of the groups, with its alarm ringing. `others` are parameters that
    /// differ from those of a quick test.
    pub fn new(moto: &'a Moto, recovery: Value, others: &[(&str, &str)]) -> Result<Self> {
        let mut parameters = vec![
            ("Bucket", "swarmdr-vault"),
            ("Cluster", CLUSTER),
            ("OldSite", "old"),
            ("RecheckSeconds", "1"),
            ("PollSeconds", "1"),
            ("Managers", "1"),
            ("Workers", "1"),
            ("ManagerGroup", text(&recovery, "/outputs/ManagerGroup")?),
            ("WorkerGroup", text(&recovery, "/outputs/WorkerGroup")?),
            ("StateParameter", text(&recovery, "/outputs/State")?),
        ];
        parameters.retain(|(key, _)| others.iter().all(|(other, _)| other != key));
        parameters.extend(others);
        let failover = create_stack(moto, "failover", "failover.yaml", &parameters)?;
        let alarm = text(&failover, "/outputs/Alarm")?.to_owned();
        moto.ask(&["silence", &alarm])?;
        let arn = moto.ask(&["really", text(&failover, "/outputs/Machine")?])?;
        let mails = moto.ask(&["subscribe", text(&failover, "/outputs/TopicArn")?])?;
        let switch = text(&failover, "/outputs/SwitchBucket")?.to_owned();
        Ok(Self { moto, recovery, alarm, arn, mails, switch })
    }

    /// Starts it, as the rule does.
    pub fn start(&self) -> Result<String> {
        self.moto.ask(&["start", &self.arn])
    }

    /// Waits for the mail with these words in it.
    pub fn mail(&self, words: &str) -> Result<String> {
        wait_for(&format!("a mail with {words}"), LIMIT, || {
            let mail = self.moto.ask(&["mail", &self.mails])?;
            Ok(mail.contains(words).then_some(mail))
        })
    }

    /// Waits until it asks a person, and returns the token of the answer.
    pub fn question(&self, words: &str) -> Result<String> {
        let mail = self.mail(words)?;
        ensure!(mail.contains("aws stepfunctions send-task-success --region us-east-1"), "{mail}");
        ensure!(mail.contains("aws stepfunctions send-task-failure --region us-east-1"), "{mail}");
        let token = mail.split("--task-token ").nth(1).and_then(|rest| rest.split_whitespace().next());
        Ok(token.context("the mail has no token")?.to_owned())
    }

    /// Starts it, and answers its mail.
    pub fn start_and_approve(&self) -> Result<String> {
        let execution = self.start()?;
        let token = self.question("leaves no signs of life")?;
        self.moto.ask(&["approve", &token])?;
        Ok(execution)
    }

    /// Puts the alarm into a state.
    pub fn alarm(&self, state: &str) -> Result<()> {
        self.moto.ask(&["silence", &self.alarm, state]).map(drop)
    }

    fn group(&self, output: &str) -> Result<&str> {
        text(&self.recovery, &format!("/outputs/{output}"))
    }

    /// Returns how many instances a group is to have; sets it first, if told to.
    pub fn size(&self, group: &str, set: Option<&str>) -> Result<String> {
        let words = [&["desired", self.group(group)?], set.as_slice()].concat();
        Ok(self.moto.ask(&words)?.trim().to_owned())
    }

    pub fn raised(&self, group: &str, number: &str) -> Result<()> {
        wait_for(&format!("{group} to be raised to {number}"), LIMIT, || {
            Ok((self.size(group, None)? == number).then_some(()))
        })
    }

    /// Returns one of the parameters `state` and `state-report`; sets it first, if told to.
    pub fn parameter(&self, suffix: &str, set: Option<&str>) -> Result<String> {
        let name = format!("{}{suffix}", self.group("State")?);
        self.moto.ask(&[&["parameter", name.as_str()], set.as_slice()].concat())
    }

    pub fn ended(&self, execution: &str) -> Result<Value> {
        wait_for("the machine to end", LIMIT, || {
            let seen: Value = serde_json::from_str(&self.moto.ask(&["execution", execution])?)?;
            Ok((seen["status"] != "RUNNING").then_some(seen))
        })
    }

    /// Waits until it ends with a failure, and returns what it says about it.
    pub fn failed(&self, execution: &str) -> Result<String> {
        let ended = self.ended(execution)?;
        ensure!(ended["status"] == "FAILED", "{ended:#}");
        Ok(text(&ended, "/cause")?.to_owned())
    }

    /// What switches the traffic; empty if it is not switched.
    pub fn switched(&self) -> Result<String> {
        self.moto.ask(&["object-of", &self.switch, "failover"])
    }

    pub fn user_data(&self, template: &str) -> Result<String> {
        self.moto.ask(&["user-data", text(&self.recovery, &format!("/resources/{template}"))?])
    }
}

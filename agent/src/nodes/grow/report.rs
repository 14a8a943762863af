//! The report of `node grow`.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;
use swarmdr_archive::untrusted::shown;

use super::{
    even, exit_after,
    mark::LABEL,
    plan::{Standing, Step},
};
use crate::{
    nodes::{ending, label::Label, roster::Listed},
    outcome::{count::count, exit::Exit, failure::Rendered},
};

/// The stable JSON form of `node grow --json`.
#[derive(Debug, Serialize)]
pub struct GrowReport {
    pub result: &'static str,
    #[serde(skip)]
    exit: Exit,
    /// Whether this run did something that stays, so that what ends it is no refusal.
    #[serde(skip)]
    pub has_acted: bool,
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// Number of managers that is wanted.
    pub wanted: usize,
    /// Number of members of the group of managers when the run ended.
    pub manager_count: usize,
    /// Managers when the run ended, as far as they were asked then.
    pub managers: Vec<NodeLine>,
    /// Nodes that this run has made managers, or would have.
    pub promoted: Vec<NodeLine>,
    /// Nodes that did not become managers in this run, although they are ready.
    pub passed_over: Vec<LeftOutLine>,
    pub left_out: Vec<LeftOutLine>,
    /// Number of workers that are missing.
    pub missing: usize,
    /// Whether some are missing while others did not become managers in an earlier run, and are not tried again yet.
    #[serde(skip)]
    do_others_rest: bool,
    /// What is worth to know and was so before this run.
    pub notes: Vec<String>,
    pub attention: Vec<String>,
    /// What can be done about it.
    pub to_do: Vec<String>,
}

/// What a node is that was passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PassedOver {
    /// A worker whose port is shut, and that was not promoted.
    Shut,
    /// A worker again.
    TakenBack,
    /// A manager by its role, outside of the group.
    Outside,
}

/// A node in a report.
#[derive(Debug, Clone, Serialize)]
pub struct NodeLine {
    pub id: String,
    pub hostname: String,
    /// Value of the label that managers are spread over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
pub struct LeftOutLine {
    pub id: String,
    pub hostname: String,
    pub why: String,
}

impl NodeLine {
    fn of(listed: &Listed, spread: Option<&Label>) -> Self {
        let value = spread.map(|label| label.of(listed).to_owned());
        Self { id: listed.id().to_owned(), hostname: listed.name().to_owned(), value }
    }
}

impl GrowReport {
    pub fn new(wanted: usize, dry_run: bool) -> Self {
        Self {
            result: Exit::Done.word(),
            exit: Exit::Done,
            has_acted: false,
            dry_run,
            wanted,
            manager_count: 0,
            managers: Vec::new(),
            promoted: Vec::new(),
            passed_over: Vec::new(),
            left_out: Vec::new(),
            missing: 0,
            do_others_rest: false,
            notes: Vec::new(),
            attention: Vec::new(),
            to_do: Vec::new(),
        }
    }

    /// Notes that a node did not become a manager.
    pub fn pass_over(&mut self, node: &Listed, why: &str, is: PassedOver) {
        let (name, id) = (node.name(), node.id());
        self.has_acted = true;
        self.promoted.retain(|line| line.id != id);
        self.attention.push(format!("{why}: it was passed over"));
        self.to_do.push(match is {
            PassedOver::Shut => format!("open port 2377 of {name} for the managers; the next run tries it again"),
            PassedOver::TakenBack => format!(
                "see to {name} and its port 2377; runs of the next hour pass it over, unless they are given --only, or its label \
                 is removed: `docker node update --label-rm {LABEL} {id}`"
            ),
            PassedOver::Outside => format!(
                "{name} is a manager by its role, and joins the group by itself once port 2377 is open both ways (see \
                 `journalctl -u docker` there); until then no backup is made, since the group is changing. If it is not to \
                 join: `docker swarm leave --force` there, then `docker node rm --force {id}` here; it has to join anew"
            ),
        });
        self.passed_over.push(LeftOutLine {
            id: node.id().to_owned(),
            hostname: node.name().to_owned(),
            why: why.to_owned(),
        });
    }

    /// Notes that a worker whose port is shut is not tried.
    pub fn shut(&mut self, node: &Listed, passed_over: &mut BTreeMap<String, String>) {
        let why = format!("port 2377 of {} is closed, so it would not become a manager", node.name());
        self.pass_over(node, &why, PassedOver::Shut);
        passed_over.insert(node.id().to_owned(), why);
    }

    /// Notes that there are enough managers, and which nodes are managers by their role outside of their group.
    pub fn enough(&mut self, standing: &Standing) {
        // One that does not join may be listed as down or unknown for a while.
        self.notes.extend(standing.moving.iter().chain(&standing.remains).map(|node| {
            format!(
                "{} is a manager by its role, outside of the group: it joins by itself once port 2377 is open both ways, and \
                 until then no backup is made; or `docker swarm leave --force` there, then `docker node rm --force {}` here",
                node.name(),
                node.id()
            )
        }));
    }

    /// Notes how the group stands now.
    pub fn stands(&mut self, standing: &Standing, spread: Option<&Label>) {
        self.managers = standing.members.iter().map(|member| NodeLine::of(member, spread)).collect();
        self.manager_count = self.managers.len();
        let is_told = |id: &str| self.passed_over.iter().any(|line| line.id == id);
        let left_out = standing.left_out.iter().filter(|it| !is_told(it.node.id())).map(|it| LeftOutLine {
            id: it.node.id().to_owned(),
            hostname: it.node.name().to_owned(),
            why: it.why.clone(),
        });
        self.left_out = left_out.collect();
    }

    pub fn promoted(&mut self, node: &Listed, spread: Option<&Label>) {
        self.has_acted = true;
        self.promoted.push(NodeLine::of(node, spread));
    }

    /// Notes what a run would do.
    pub fn would(&mut self, standing: &Standing, step: &Step<'_>, wanted: usize, spread: Option<&Label>) {
        match step {
            Step::Await(node) => {
                let unproven = standing.unproven.iter().any(|it| it.id() == node.id());
                let is = match unproven {
                    true => {
                        "was made a manager by a run that did not end: it is waited for first, and made a worker again if it \
                             does not answer"
                    }
                    false => "is becoming a manager, or a worker, at this moment",
                };
                self.attention.push(format!("{} {is}", node.name()));
            }
            _ => {
                let promotions = standing.promotions(wanted, spread);
                self.promoted = promotions.into_iter().map(|node| NodeLine::of(node, spread)).collect();
                match standing.missing(wanted) {
                    0 => {}
                    missing => self.misses(missing, standing),
                }
            }
        }
        self.set(Exit::Done);
    }

    pub fn misses(&mut self, missing: usize, standing: &Standing) {
        self.missing = missing;
        self.attention.push(format!(
            "{} more needed for {} managers: there are {} and {}",
            if missing == 1 { "1 ready worker is".to_owned() } else { format!("{missing} ready workers are") },
            self.wanted,
            count(standing.members.len() as u64, "manager"),
            count(standing.candidates.len() as u64, "candidate"),
        ));
        for rests in standing.left_out.iter().filter(|it| it.rests) {
            self.do_others_rest = true;
            self.attention.push(format!("{} did not become a manager: {}", rests.node.name(), rests.why));
            self.to_do.push(format!("see to {} and its port 2377", rests.node.name()));
        }
        self.to_do
            .push("let more hosts join (`swarmdr-agent node join`), then run this again, or with --wait".to_owned());
    }

    /// Notes why a run that has changed something could not go on.
    pub fn stopped(&mut self, rendered: Rendered) {
        let because = rendered.because.iter().map(|cause| format!(": {cause}")).collect::<String>();
        self.attention.push(format!("{}{because}", rendered.what));
        self.to_do.extend(rendered.advice);
        self.set(exit_after(rendered.exit));
    }

    pub fn finish(mut self) -> Self {
        let would = if self.dry_run { self.promoted.len() } else { 0 };
        let managers = self.managers.len() + would;
        // Two need each other, whoever made them two. Other even numbers are no worse than the odd one before.
        let is_own = managers == 2 || !self.promoted.is_empty();
        if is_own { &mut self.attention } else { &mut self.notes }.extend(even(managers));
        // The same a minute later is no better: an earlier run has tried what there is.
        let has_failed = !self.passed_over.is_empty() || self.do_others_rest && !self.dry_run;
        if self.exit == Exit::Done && self.missing > 0 && has_failed {
            self.set(Exit::Failed);
        }
        if self.exit == Exit::Done && !self.attention.is_empty() {
            self.set(Exit::Attention);
        }
        self
    }

    fn set(&mut self, exit: Exit) {
        self.exit = exit;
        self.result = exit.word();
    }

    /// Exits 6 if workers are missing, if some were passed over and there are enough managers all the same, or if this run
    /// leaves an even number; 1 if there are not enough, since nodes did not become managers, in this run or in one of the
    /// last hour.
    pub fn exit(&self) -> Exit {
        self.exit
    }
}

impl fmt::Display for NodeLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", shown(&self.hostname), shown(&self.id))?;
        match &self.value {
            Some(value) if value.is_empty() => write!(f, ", without the label"),
            Some(value) => write!(f, ", {}", shown(value)),
            None => Ok(()),
        }
    }
}

impl fmt::Display for GrowReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Managers: {} of {}", self.managers.len(), self.wanted)?;
        for line in &self.managers {
            writeln!(f, "  manager   {line}")?;
        }
        for line in &self.promoted {
            writeln!(f, "  {}  {line}", if self.dry_run { "would be" } else { "promoted" })?;
        }
        for line in &self.passed_over {
            writeln!(f, "  passed    {} ({}): {}", shown(&line.hostname), shown(&line.id), shown(&line.why))?;
        }
        for line in &self.left_out {
            writeln!(f, "  left out  {} ({}): {}", shown(&line.hostname), shown(&line.id), shown(&line.why))?;
        }
        for note in &self.notes {
            writeln!(f, "  note      {}", shown(note))?;
        }
        ending::write(f, &self.attention, &self.to_do, self.dry_run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        nodes::grow::{
            mark::{Mark, tests::marked},
            plan::tests::{manager, sort, with, worker},
        },
        outcome::terminal::tests::assert_tame,
    };

    #[test]
    fn names_of_others_do_not_steer_the_terminal() {
        assert_tame(|text| {
            let own = || text.to_owned();
            let line = || NodeLine { id: own(), hostname: own(), value: Some(own()) };
            GrowReport {
                managers: vec![line()],
                promoted: vec![line()],
                passed_over: vec![LeftOutLine { id: own(), hostname: own(), why: own() }],
                left_out: vec![LeftOutLine { id: own(), hostname: own(), why: own() }],
                notes: vec![own()],
                attention: vec![own()],
                to_do: vec![own()],
                ..GrowReport::new(3, true)
            }
        });
    }

    #[test]
    fn who_was_passed_over_needs_attention_and_is_a_failure_if_managers_are_missing() {
        let node = worker("w1", "");
        for (missing, exit, is, to_do) in [
            (0, Exit::Attention, PassedOver::Shut, "open port 2377 of host-w1"),
            (0, Exit::Attention, PassedOver::TakenBack, "docker node update --label-rm swarmdr.grow w1"),
            (1, Exit::Failed, PassedOver::Outside, "docker node rm --force w1"),
        ] {
            let mut report = GrowReport::new(3, false);
            report.promoted(&node, None);
            report.pass_over(&node, "host-w1 did not join", is);
            report.missing = missing;
            let report = report.finish();
            assert!(report.promoted.is_empty() && report.exit() == exit, "{report:?}");
            assert!(report.to_string().contains("passed    host-w1 (w1): host-w1 did not join"), "{report}");
            assert!(report.to_string().contains(to_do), "{report}");
        }
    }

    /// A timer that runs each minute fails as long as managers are missing, and not only in the minute of the attempt.
    #[test]
    fn a_node_that_is_not_tried_again_yet_is_a_failure_while_managers_are_missing() {
        let rests = marked(worker("w1", ""), &Mark::taken_back_now().to_string());
        for (nodes, is_dry, expected) in [
            (vec![manager("m", ""), rests.clone()], false, Exit::Failed),
            (vec![manager("m", ""), rests.clone()], true, Exit::Attention),
            // Hosts that have not joined yet are another matter.
            (vec![manager("m", ""), worker("w1", "")], false, Exit::Attention),
        ] {
            let standing = sort(nodes);
            let Step::Missing(missing) = standing.next(3, None) else { panic!("{standing:?}") };
            let mut report = GrowReport::new(3, is_dry);
            report.stands(&standing, None);
            report.misses(missing, &standing);
            let report = report.finish();
            assert_eq!(report.exit(), expected, "{report:?}");
            let is_told = report.to_string().contains("host-w1 did not become a manager: passed over");
            assert_eq!(is_told, expected == Exit::Failed || is_dry, "{report}");
        }
        // With enough managers it is listed, and nothing is wrong.
        let standing = sort(vec![manager("a", ""), manager("b", ""), manager("c", ""), rests]);
        let mut report = GrowReport::new(3, false);
        report.stands(&standing, None);
        report.enough(&standing);
        assert_eq!((report.left_out.len(), report.finish().exit()), (1, Exit::Done));
    }

    #[test]
    fn what_was_so_before_the_run_is_a_note() {
        let outside = with(worker("x", ""), "/Spec/Role", "manager");
        let three = || vec![manager("a", ""), manager("b", ""), manager("c", "")];
        for (nodes, noted) in [
            ([three(), vec![outside]].concat(), "docker node rm --force x"),
            ([three(), vec![manager("d", "")]].concat(), "4 managers survive the loss of 1"),
        ] {
            let standing = sort(nodes);
            assert!(matches!(standing.next(3, None), Step::Enough));
            let mut report = GrowReport::new(3, false);
            report.stands(&standing, None);
            report.enough(&standing);
            let report = report.finish();
            assert!(report.exit() == Exit::Done && report.attention.is_empty(), "{report:?}");
            assert!(report.to_string().contains(noted), "{report}");
            let json = serde_json::to_value(&report).expect("is JSON");
            assert_eq!(json["manager_count"], standing.members.len());
        }
    }

    #[test]
    fn an_even_number_that_the_run_leaves_and_two_need_attention() {
        for (managers, promoted, expected) in
            [(4, true, Exit::Attention), (4, false, Exit::Done), (2, false, Exit::Attention), (3, true, Exit::Done)]
        {
            let mut report = GrowReport::new(1, false);
            report.stands(&sort((0..managers).map(|n| manager(&format!("m{n}"), "")).collect()), None);
            if promoted {
                report.promoted(&manager("m1", ""), None);
            }
            assert_eq!(report.finish().exit(), expected, "{managers} {promoted}");
        }
    }

    #[test]
    fn a_run_that_stopped_says_why_and_what_to_do() {
        let mut report = GrowReport::new(3, false);
        let rendered = Rendered {
            exit: Exit::Refused,
            what: "m2 does not answer".to_owned(),
            because: vec!["the cable".to_owned()],
            advice: vec!["plug it in".to_owned()],
        };
        report.stopped(rendered);
        let report = report.finish();
        assert_eq!((report.exit(), report.result), (Exit::Attention, "attention"));
        let text = report.to_string();
        assert!(text.contains("! m2 does not answer: the cable") && text.contains("to do: plug it in"), "{text}");
    }
}

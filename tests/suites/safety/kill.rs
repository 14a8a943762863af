//! Ends the agent at every point of a run, and at random times, in every way; the engine comes back by itself.

use std::{
    fmt, thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use swarmdr_tests::{
    lab::{Engine, Lab},
    scenario::agent_with_faults,
};

use super::{
    Seeded, full,
    manager::{LIMIT, MAX_PAUSE, Manager, notes},
};

/// Beginnings of phases, and points within them, in order.
const POINTS: [&str; 11] =
    ["pre-copy", "quiesce", "armed", "copying", "copied", "resume", "back", "examine", "pack", "store", "snapshot"];
const MODES: [&str; 2] = ["cold", "freeze"];
const SEED: u64 = 20_261_121;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Kill,
    Term,
    Int,
    /// The terminal is closed.
    Hup,
    Panic,
    PowerCut,
}

const ENDS: [End; 6] = [End::Kill, End::Term, End::Int, End::Hup, End::Panic, End::PowerCut];

impl End {
    /// Returns the name of the fault. At a power cut the agent hangs.
    fn action(self) -> &'static str {
        match self {
            End::Kill => "kill",
            End::Term => "term",
            End::Int => "int",
            End::Hup => "hup",
            End::Panic => "panic",
            End::PowerCut => "hang",
        }
    }

    fn signal(self) -> Option<&'static str> {
        match self {
            End::Kill => Some("KILL"),
            End::Term => Some("TERM"),
            End::Int => Some("INT"),
            End::Hup => Some("HUP"),
            // No signal makes the agent panic.
            End::Panic | End::PowerCut => None,
        }
    }

    /// Whether the cleaning up is left to the next run.
    fn is_by_force(self) -> bool {
        matches!(self, End::Kill | End::PowerCut)
    }
}

#[derive(Debug, Clone, Copy)]
enum When {
    At(&'static str),
    /// Time after the start, in thousandths of a usual run.
    Permille(u64),
}

#[derive(Debug, Clone, Copy)]
struct Case {
    mode: &'static str,
    end: End,
    when: When,
}

/// Returns every point with every end in both modes, and random times; or a part in which every point, end and mode
/// occurs on both engines.
fn cases(engine: usize) -> Vec<Case> {
    let mut random = Seeded(SEED + engine as u64);
    let mut instant = |mode| {
        let ends = [End::Kill, End::Term, End::Int, End::Hup, End::PowerCut];
        let end = ends[usize::try_from(random.below(5)).expect("is small")];
        Case { mode, end, when: When::Permille(random.below(1000)) }
    };
    let mut cases = Vec::new();
    if full() {
        for mode in MODES {
            for end in ENDS {
                cases.extend(POINTS.map(|point| Case { mode, end, when: When::At(point) }));
            }
            cases.extend((0..20).map(|_| instant(mode)));
        }
        return cases;
    }
    // The two engines differ in the mode at each point, and meet each end about twice, in both modes together.
    for (n, point) in POINTS.into_iter().enumerate() {
        let (mode, end) = (MODES[(n + engine) % 2], ENDS[(n * (4 * engine + 1)) % 6]);
        cases.push(Case { mode, end, when: When::At(point) });
    }
    cases.extend(MODES.map(&mut instant));
    cases
}

/// Result of one case.
struct Row {
    case: Case,
    ended: String,
    back: Duration,
    litter: String,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let when = match self.case.when {
            When::At(point) => point.to_owned(),
            When::Permille(permille) => format!("at {permille} permille"),
        };
        let (mode, end) = (self.case.mode, format!("{:?}", self.case.end));
        write!(f, "{mode:7} {end:9} {when:16} {:26} {:6.1} s  {}", self.ended, self.back.as_secs_f64(), self.litter)
    }
}

/// A host and its measurements.
struct Campaign {
    manager: Manager,
    /// Time of a usual run, in either mode.
    usual: [Duration; 2],
    /// Time from the request to restart the engine until it answers.
    restart: Duration,
}

impl Campaign {
    fn begin(lab: &Lab, engine: Engine, last: u8) -> Result<Self> {
        let manager = Manager::boot(lab, engine, last, &agent_with_faults()?)?;
        let begun = Instant::now();
        manager.host.sh("systemctl restart docker.service")?;
        manager.wait_until_back()?;
        let restart = begun.elapsed();
        let mut usual = [Duration::ZERO; 2];
        for (mode, usual) in MODES.iter().zip(&mut usual) {
            let begun = Instant::now();
            manager.backup(mode, "", 0)?;
            *usual = begun.elapsed();
        }
        manager.check_tidy()?;
        Ok(Self { manager, usual, restart })
    }

    /// Returns the promised limit: [`MAX_PAUSE`] and 5 s, or more on a machine whose engine takes longer to start.
    fn limit(&self) -> Duration {
        Duration::from_secs(MAX_PAUSE) + Duration::from_secs(5).max(self.restart * 3)
    }

    fn run(&mut self, case: Case) -> Result<Row> {
        let ended = match case.when {
            When::At(point) => self.end_at(case, point)?,
            When::Permille(permille) => self.end_after(case, permille)?,
        };
        let back = self.manager.wait_until_back()?;
        // After a power cut the host's own boot counts, which the agent does not control.
        if case.end != End::PowerCut {
            ensure!(back <= self.limit(), "the engine was away for {back:.1?} more, the limit is {:.1?}", self.limit());
        }
        self.manager.check_intact()?;
        let next = self.manager.backup("freeze", "", 0)?;
        let told = notes(&next);
        // At a random time the run may not have begun, or may be over.
        if let When::At(_) = case.when {
            let expected = case.end.is_by_force();
            ensure!(!expected || told.contains("was killed"), "the next run says nothing of it: {told}");
            ensure!(!matches!(case.end, End::Term | End::Int | End::Hup) || !told.contains("was killed"), "{told}");
        }
        self.manager.check_tidy()?;
        let litter = ["snapshot-", ".timer"].into_iter().filter(|kind| told.contains(kind)).collect::<Vec<_>>();
        Ok(Row { case, ended, back, litter: litter.join(" ") })
    }

    fn end_at(&mut self, case: Case, point: &str) -> Result<String> {
        let fault = format!("{}@{point}", case.end.action());
        let mut run = self.manager.spawn(case.mode, &fault)?;
        self.manager.wait_for_fault(&mut run)?;
        if case.end == End::PowerCut {
            drop(run);
            self.manager.host.reboot()?;
            return Ok("host was cut off".to_owned());
        }
        let begun = Instant::now();
        let ended = run.wait(LIMIT)?;
        let code = ended.status.code();
        match case.end {
            // The status is that of `nsenter`, which ends as its child did.
            End::Kill => ensure!(code.is_none() || code == Some(137), "{ended:?}"),
            End::Panic => ensure!(code == Some(1), "{ended:?}"),
            // The archive is stored if the signal came too late to matter.
            _ => ensure!(code == Some(1) || (point == "store" && code == Some(0)), "{ended:?}"),
        }
        if code == Some(1) && case.end != End::Panic {
            let words = ["interrupted by a signal", "stopped before the archive was complete"];
            ensure!(words.iter().any(|words| ended.stderr.contains(words)), "{}", ended.stderr);
        }
        let code = code.map_or("killed".to_owned(), |code| format!("exit {code}"));
        Ok(format!("{code} after {:.1} s", begun.elapsed().as_secs_f64()))
    }

    fn end_after(&mut self, case: Case, permille: u64) -> Result<String> {
        let usual = self.usual[usize::from(case.mode == "freeze")];
        let run = self.manager.spawn(case.mode, "")?;
        thread::sleep(usual * u32::try_from(permille).context("is small")? / 1000);
        let Some(signal) = case.end.signal() else {
            drop(run);
            self.manager.host.reboot()?;
            return Ok("host was cut off".to_owned());
        };
        // The run may be over already.
        let sent = run.signal(signal).is_ok();
        let ended = run.wait(LIMIT)?;
        let code = ended.status.code().map_or("killed".to_owned(), |code| format!("exit {code}"));
        Ok(if sent { code } else { format!("{code} before") })
    }
}

#[test]
fn whatever_ends_the_agent_the_engine_comes_back_by_itself() -> Result<()> {
    let lab = Lab::new()?;
    let engines = [Engine::E20_10, Engine::E28_5];
    let tables = thread::scope(|scope| {
        let campaigns = [0, 1].map(|n| {
            let lab = &lab;
            scope.spawn(move || -> Result<Vec<String>> {
                let engine = engines[n];
                let mut campaign = Campaign::begin(lab, engine, 11 + u8::try_from(n)?)?;
                let mut table = vec![format!(
                    "{engine:?}: usual runs {:.1?}, restart of the engine {:.1?}, limit {:.1?}",
                    campaign.usual,
                    campaign.restart,
                    campaign.limit()
                )];
                for case in cases(n) {
                    let row = campaign.run(case).with_context(|| format!("{engine:?}: {case:?}"))?;
                    eprintln!("{engine:?} {row}");
                    table.push(row.to_string());
                }
                Ok(table)
            })
        });
        campaigns.map(|campaign| campaign.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    println!("\nmode    ended by  at               how the agent ended        engine back  found by the next run");
    for table in tables {
        println!("{}", table?.join("\n"));
    }
    Ok(())
}

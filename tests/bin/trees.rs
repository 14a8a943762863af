//! Builds every root file system that the suites use, so that `tests/run` does it beside its compilers.

use anyhow::Result;
use swarmdr_tests::lab::{Engine, HostSpec, addr};
use swarmdr_tests::packages::TOOLS;
use swarmdr_tests::s3::Release;

fn main() -> Result<()> {
    let bare = |engine| HostSpec::new("bare", engine, addr(11));
    for release in [Release::V20, Release::Old] {
        println!("{}", release.tree()?.display());
    }
    for engine in Engine::ALL {
        println!("{}", bare(engine).tree()?.display());
    }
    println!("{}", bare(Engine::E20_10).with(TOOLS).tree()?.display());
    Ok(())
}

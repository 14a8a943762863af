//! Builds root file systems before they are needed, while compilers run.
//!
//! `swarmdr-trees` builds every tree that the suites use; `swarmdr-trees demo` those of the demonstration.

use anyhow::Result;
use swarmdr_trees::{DATABASES, Engine, Release, TOOLS, application_layer, browser_tree};

fn main() -> Result<()> {
    let is_demo = std::env::args().nth(1).is_some_and(|what| what == "demo");
    let (releases, engines): (&[Release], &[Engine]) = match is_demo {
        true => (&[Release::V20], &[Engine::E26_1]),
        false => (&[Release::V20, Release::Old], &Engine::ALL),
    };
    for release in releases {
        println!("{}", release.tree()?.display());
    }
    for engine in engines {
        println!("{}", engine.tree()?.display());
    }
    println!("{}", application_layer()?.display());
    if is_demo {
        println!("{}", browser_tree()?.display());
    } else {
        println!("{}", Engine::E20_10.tree_with(TOOLS)?.display());
        println!("{}", Engine::E26_1.tree_with(DATABASES)?.display());
    }
    Ok(())
}

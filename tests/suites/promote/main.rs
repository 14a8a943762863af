//! A second site: a spare host that keeps the newest backup ready, and takes the swarm over.
//!
//! `SWARMDR_TEST_FULL=1` forms and promotes states on three generations of engines, and interrupts a promotion at every
//! point; by default one engine does it, at some points.

mod cut;
mod keep;
mod late;
mod pilot;
mod refuse;
mod site;
mod times;

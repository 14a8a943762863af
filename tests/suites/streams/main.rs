//! Data streams on real hosts: `put` and `get`, what fails on the way, and what an attacker does to a stored stream.

mod damage;
mod drills;
mod failing;
mod kills;
mod memory;
mod narrow;
mod points;
mod recipes;
mod round;
mod site;
mod task;
mod watched;

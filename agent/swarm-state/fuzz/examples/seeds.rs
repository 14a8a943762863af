//! `seeds STATE OUT PREFIX [UNLOCK_KEY]`: writes OUT/<target>/PREFIX-<n> for what is closed in a state directory.

use std::{env, error::Error, fs, path::Path};

use swarm_state::testkit::fuzzing::seeds;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    let [state, out, prefix, key @ ..] = args.as_slice() else { return Err("seeds STATE OUT PREFIX [UNLOCK_KEY]".into()) };
    let key = key.first().map(|key| fs::read_to_string(key)?.parse().map_err(Box::<dyn Error>::from)).transpose()?;
    for (number, (target, seed)) in seeds::of_state(Path::new(state), key.as_ref())?.into_iter().enumerate() {
        let dir = Path::new(out).join(target);
        fs::create_dir_all(&dir)?;
        fs::write(dir.join(format!("{prefix}-{number}")), seed)?;
    }
    Ok(())
}

//! What a Swarm state directory says. Reads only.

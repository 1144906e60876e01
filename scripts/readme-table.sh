#!/bin/sh
# Puts the table on the standard input between the two markers of README.md (readme-table.sh write), or tells whether
# it is what stands there (readme-table.sh check).
set -eu
cd "$(dirname "$0")/.."
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cat >"$scratch/table"
[ -s "$scratch/table" ] || { echo "the program printed no configuration table" >&2; exit 1; }

awk -v table="$scratch/table" '
    /<!-- configuration table: end -->/ { inside = 0; ends++ }
    !inside { print }
    /<!-- configuration table: begin -->/ {
        inside = 1; begins++
        while ((getline line < table) > 0) print line
    }
    END { exit !(begins == 1 && ends == 1 && !inside) }
' README.md >"$scratch/readme" || {
    echo "README.md needs one pair of lines '<!-- configuration table: begin -->' and '<!-- configuration table: end -->'" >&2
    exit 1
}

case ${1:-} in
write) cat "$scratch/readme" >README.md ;;
check)
    diff -u README.md "$scratch/readme" || {
        echo "the configuration table in README.md is not that of the program: make readme" >&2
        exit 1
    }
    ;;
*)
    echo "usage: readme-table.sh write|check" >&2
    exit 2
    ;;
esac

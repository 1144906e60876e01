#!/bin/sh
# Checks docker-compose.yml, deploy/kubernetes and the workflows: against their schemas, and against each other.
# The tools go into a virtual environment of their own below the build folder. Where Python or its packages are missing
# this says so and checks nothing, unless FORECASTD_DEPLOY_CHECK=required.
set -eu
cd "$(dirname "$0")/.."
requirements=scripts/deploy-check.txt
folder=${CARGO_TARGET_DIR:-target}/deploy-check-$(cksum <$requirements | cut -d ' ' -f 1)
log=$(mktemp)
trap 'rm -f "$log"' EXIT

skip() {
    echo "deploy-check: SKIPPED, nothing was checked: $1" >&2
    [ "${FORECASTD_DEPLOY_CHECK:-}" != required ] || exit 1
    exit 0
}

if [ ! -e "$folder/complete" ]; then
    command -v python3 >/dev/null || skip "there is no python3"
    rm -rf "$folder"
    python3 -m venv "$folder" >"$log" 2>&1 || skip "python3 has no venv with pip: $(tail -n 1 "$log")"
    "$folder/bin/python" -m pip install --quiet --disable-pip-version-check --requirement $requirements >"$log" 2>&1 ||
        skip "the packages of $requirements cannot be installed: $(tail -n 1 "$log")"
    touch "$folder/complete"
fi
python=$folder/bin/python

# Every manifest against the oldest and the newest release that the package knows.
validate() {
    for release in 1.35.0 1.37.0; do
        for manifest in "$@"; do
            "$python" -m kubernetes_validate --strict --quiet --kubernetes-version "$release" "$manifest" || return 1
        done
    done
}

# A check that cannot fail is none: a wrong type and a word that does not exist have to be found.
for damage in 's/replicas: 2/replicas: two/' 's/readOnlyRootFilesystem/readOnlyRoot/'; do
    sed "$damage" deploy/kubernetes/api.yaml >"$log"
    if validate "$log" >/dev/null 2>&1; then
        echo "deploy-check: the schema check did not find '$damage'" >&2
        exit 1
    fi
done
validate deploy/kubernetes/*.yaml deploy/kubernetes/examples/*.yaml
"$folder/bin/check-jsonschema" --quiet --builtin-schema vendor.compose-spec docker-compose.yml
"$folder/bin/check-jsonschema" --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
"$python" scripts/deploy-check.py
if docker compose version >/dev/null 2>&1; then
    docker compose config --quiet
    echo "deploy-check: docker compose reads docker-compose.yml, too"
else
    echo "deploy-check: docker compose is not installed; docker-compose.yml was checked by its schema alone"
fi

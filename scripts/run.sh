#!/bin/sh
# Starts the service: run.sh PROGRAM [ARGUMENT...]. Its data is in ./data, unless FORECASTD_DATA_DIR says otherwise.
set -eu
program=$1
shift

# PostgreSQL refuses to run as root and then runs under another account, which has to be able to enter the data folder.
# The folder of a clone in root's own home is closed to everybody else.
closed_folder() {
    folder=$PWD
    while [ "$folder" != / ]; do
        if [ -z "$(find "$folder" -prune -perm -001)" ]; then return 0; fi
        folder=$(dirname "$folder")
    done
    return 1
}
if [ "$(id -u)" = 0 ] && [ -z "${FORECASTD_DATA_DIR:-}${DATABASE_URL:-}" ] && [ ! -e data ] && closed_folder; then
    FORECASTD_DATA_DIR=/var/lib/forecastd
    export FORECASTD_DATA_DIR
    mkdir -p "$FORECASTD_DATA_DIR"
    echo "run: $folder is closed to the account that PostgreSQL runs under; the data is in $FORECASTD_DATA_DIR" >&2
fi
exec "$program" serve "$@"

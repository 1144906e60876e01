#!/bin/sh
# Makes the secrets of docker-compose.yml where they are missing, in a folder that only its owner may enter. The files
# themselves are readable, because the containers run as other users and see nothing but the file.
set -eu
cd "$(dirname "$0")/.."
folder=secrets
[ -d "$folder" ] || mkdir -m 700 "$folder"
for name in postgres_password ledger_key; do
    [ ! -e "$folder/$name" ] || continue
    # 256 random bits as 64 hexadecimal digits: what the ledger's signing key is, and good for a password.
    head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n' >"$folder/$name.new"
    chmod 444 "$folder/$name.new"
    mv "$folder/$name.new" "$folder/$name"
    echo "made $folder/$name" >&2
done
echo "keep a copy of $folder/ledger_key elsewhere: without it nobody can go on signing this ledger" >&2

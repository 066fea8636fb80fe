#!/usr/bin/env bash
# Draw the passwords of the stack, each into a file that only you can read; those that are there stay.
#
#   scripts/stack-secrets.sh [FOLDER]        .secrets by default, as docker-compose.yml expects it
set -euo pipefail
FOLDER=${1:-.secrets}
umask 077
mkdir -p "$FOLDER"
chmod 700 "$FOLDER"
for name in postgres database-owner database broker grafana; do
    file=$FOLDER/$name
    [ -s "$file" ] || od -An -N24 -tx1 /dev/urandom | tr -d ' \n' >"$file"
    chmod 600 "$file"
done
echo "$FOLDER: $(ls "$FOLDER" | tr '\n' ' ')"

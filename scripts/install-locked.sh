#!/usr/bin/env bash
# Install what a lock file lists, and nothing else: wheels with the hashes that stand there.
#
#   scripts/install-locked.sh PYTHON LOCK       e.g.  .venv/bin/python requirements/dev.txt
#
# A torch that is there in the locked version stays, whatever it was built for (docs/decisions/0017).
set -euo pipefail
PYTHON=$1
LOCK=$2

# --no-deps: the file names every package. What it should lack, `pip check` tells afterwards.
install() {
    "$PYTHON" -m pip install --quiet --disable-pip-version-check --no-deps \
        --only-binary :all: --require-hashes --requirement "$1"
}

# vLLM's lock for CUDA is complete, and so are those without torch. Into the others it comes in one of two builds.
if grep -q '^nvidia-' "$LOCK" || ! grep -q '^torch==' "$LOCK"; then
    install "$LOCK"
    exit
fi
torch_is() { "$PYTHON" -c "from importlib.metadata import version; print(version('torch'))" 2>/dev/null || true; }
FOLDER=$(dirname "$LOCK")
locked=$(sed -n 's/^torch==\([^ ]*\).*/\1/p' "$LOCK")
case $(torch_is) in
    "$locked" | "$locked"+*) ;;
    *)
        install "$FOLDER/torch-cpu.txt" 2>/dev/null \
            || echo "torch's locked CPU build is not offered here: taking the build with CUDA."
        ;;
esac
install "$LOCK"
# What the index has under the bare version needs CUDA's libraries (on Linux: elsewhere the file installs nothing).
case $(torch_is) in
    "$locked") install "$FOLDER/cuda.txt" ;;
esac

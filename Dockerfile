# One image for every process of the stack: `muster serve`, `muster worker`, `muster beat`.
ARG PYTHON_IMAGE=python:3.12-slim
FROM ${PYTHON_IMAGE}

RUN useradd --uid 10001 --create-home muster && mkdir /data && chown muster: /data
WORKDIR /app
ENV PIP_NO_CACHE_DIR=1

# The packages first: the layers outlive changes of the code. Their versions and hashes are locked. A build of torch
# for another device is chosen by its index, and then vouched for by that index alone: not by the lock's hashes.
ARG TORCH=torch==2.13.0
ARG TORCH_INDEX=
RUN if [ -n "$TORCH_INDEX" ]; then pip install --index-url "$TORCH_INDEX" "$TORCH"; fi
COPY requirements requirements
COPY scripts/install-locked.sh scripts/
RUN scripts/install-locked.sh python requirements/image.txt

COPY pyproject.toml README.md LICENSE muster.py ./
COPY orchestrator orchestrator
COPY skills skills
COPY workers workers
COPY aggregators aggregators
COPY api api
RUN pip install --no-deps --no-build-isolation . && pip check && rm -r build muster.egg-info

USER muster
ENV PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1
CMD ["muster", "serve"]

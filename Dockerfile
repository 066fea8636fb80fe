# One image for every process of the stack: `muster serve`, `muster worker`, `muster beat`.
FROM python:3.12-slim

RUN useradd --uid 10001 --create-home muster && mkdir /data && chown muster: /data
WORKDIR /app

# torch first and by itself: the layer outlives changes of the code. For CUDA pass another index.
ARG TORCH=torch==2.13.0
ARG TORCH_INDEX=
RUN pip install --no-cache-dir ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} "$TORCH"

COPY pyproject.toml README.md LICENSE ./
COPY orchestrator orchestrator
COPY skills skills
COPY workers workers
COPY aggregators aggregators
COPY api api
RUN pip install --no-cache-dir '.[stack]'

USER muster
ENV PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1
CMD ["muster", "serve"]

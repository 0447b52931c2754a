# Commands of the house. `make help` lists them.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
BENCH  := .venv-bench

.PHONY: help demo test lint lock format clean

help: ## List the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

demo: $(VENV)/.runtime ## Set up everything on an embedded database and run the story
	@$(BIN)/python -m demo

test: $(VENV)/.develop ## Install what the tests need and run everything, on SQLite and MariaDB
	@tests/run

SEED ?= 1
STEPS ?= 20000
.PHONY: simulate
simulate: $(VENV)/.develop ## Replay SEED= and STEPS= of the simulation; SECONDS=1200 goes on with the next seeds
	@$(BIN)/python -m tests.simulation --seed $(SEED) --steps $(STEPS) $(if $(SECONDS),--seconds $(SECONDS)) \
		$(if $(DATABASE),--database '$(DATABASE)')

PEOPLE ?= 300
.PHONY: year
year: $(VENV)/.develop ## Live a year of debits with SEED= and PEOPLE=; SEEDS=20 goes on with the next seeds
	@$(BIN)/python -m tests.year --seed $(SEED) --people $(PEOPLE) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(MONTHS),--months $(MONTHS))

.PHONY: bench
bench: $(BENCH)/.installed ## Measure notices beside bare SQL and django-hordak, 5 minutes; SECONDS= and ROUNDS= for more
	@$(BIN)/python -m benchmarks $(if $(SECONDS),--seconds $(SECONDS)) $(if $(ROUNDS),--rounds $(ROUNDS))

.PHONY: bench-debits
bench-debits: $(VENV)/.runtime ## Measure a day of debits beside bare SQL, and the bank's files, 20 minutes; DEBITS= for another size
	@$(BIN)/python -m benchmarks.debits $(if $(DEBITS),--debits $(DEBITS))

lint: $(VENV)/.develop ## Format, lint, types, contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.develop ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: $(VENV)/.develop ## Resolve requirements*.in into hashed requirements*.txt
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-strip-extras \
		--no-emit-index-url --no-emit-find-links --no-header requirements.in -o requirements.txt
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-strip-extras \
		--no-emit-index-url --no-emit-find-links --no-header -c requirements.txt \
		requirements-dev.in -o requirements-dev.txt
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-strip-extras \
		--no-emit-index-url --no-emit-find-links --no-header \
		requirements-bench.in -o requirements-bench.txt

clean: ## Remove what the demo and the tests left
	rm -rf var .hypothesis .mypy_cache .ruff_cache .import_linter_cache

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; say PYTHON=… to name one"; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: requirements.txt | $(VENV)/bin/python
	@echo "Installing the pinned libraries …"
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.txt
	@touch $@

$(VENV)/.develop: requirements-dev.txt | $(VENV)/bin/python
	@echo "Installing the pinned libraries and tools …"
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@ $(VENV)/.runtime

# django-hordak needs Django, which the product shall not even be able to import.
$(BENCH)/.installed: requirements-bench.txt $(VENV)/.runtime
	@echo "Installing what the benchmark compares with …"
	@$(PYTHON) -m venv $(BENCH)
	@$(BENCH)/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-bench.txt
	@touch $@

# The two commands of a new machine are `make run` and `make test`; `make help` lists all.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help run test test-database check bench lock clean

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-6s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/.run ## Start everything on the embedded PostgreSQL and print where to click
	@$(BIN)/allocation serve

test: $(VENV)/.dev ## Run all tests, with the coverage that the inner rooms must keep (TEST_POSTGRESQL=/…/bin: on those programs)
	$(BIN)/pytest --cov --cov-report=
	$(BIN)/coverage report --fail-under=95 \
		--include='*/allocation/domain/*,*/allocation/service_layer/*,*/allocation/projections/*'

# Without what takes long and is the same on every server.
test-database: $(VENV)/.dev
	$(BIN)/pytest tests/contract tests/integration tests/e2e \
		--ignore=tests/e2e/test_schemathesis.py --ignore=tests/e2e/test_readme.py --ignore=tests/e2e/test_recipes.py \
		--ignore=tests/integration/test_bench_shop.py --ignore=tests/integration/test_naive.py

check: $(VENV)/.dev ## Formatting, lint, types and the direction of imports
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.bench ## Measure against pgbench, FastAPI and the chapter's own code (QUICK=1: less of it; SOAK=1: memory, for long)
	$(BIN)/python -m benchmarks $(if $(QUICK),--quick) $(if $(SOAK),--soak)

lock: $(VENV)/.dev ## Choose the newest dependencies and write their hashes to requirements/
	$(BIN)/uv pip compile -q --universal --generate-hashes --no-header --upgrade \
		--python-version 3.11 pyproject.toml -o requirements/run.txt
	$(BIN)/uv pip compile -q --universal --generate-hashes --no-header --upgrade \
		--python-version 3.11 --group build -o requirements/build.txt
	$(BIN)/uv pip compile -q --universal --generate-hashes --no-header --upgrade \
		--python-version 3.11 --group dev -c requirements/run.txt -o requirements/dev.txt
	$(BIN)/uv pip compile -q --universal --generate-hashes --no-header --upgrade \
		--python-version 3.11 --group bench -c requirements/run.txt -c requirements/dev.txt \
		-o requirements/bench.txt

clean: ## Remove the virtual environment and the caches (never the data)
	rm -rf $(VENV) .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

# The files name every package: with --no-deps, none is looked up that is newer than what they name.
$(VENV)/.run: requirements/build.txt requirements/run.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r requirements/run.txt -r requirements/build.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.run requirements/dev.txt
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r requirements/dev.txt
	@touch $@

$(VENV)/.bench: $(VENV)/.run requirements/bench.txt
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r requirements/bench.txt
	@touch $@

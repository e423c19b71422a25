# Each target is one line here; what it does is in scripts/, one verb a file.
# ARGS goes to pytest: make test ARGS="tests/unit -k retry"
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast coverage chaos nightly test-wheel test-oldest test-newest check format docs bench venv clean

help: ## Say what each target does
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

demo: ## Make the environment and index the standard library, in memory
	@scripts/venv demo
	@.venv/bin/python examples/index_stdlib.py
	@echo "To watch it in the browser, with a Redis: .venv/bin/aiostreamq dev examples.index_stdlib:queue"
	@echo "and there, in another terminal: .venv/bin/python examples/index_stdlib.py --no-worker --url URL"

test: ## Run all tests on a real redis-server, which is found or installed
	@scripts/test $(ARGS)

test-fast: ## Run in a minute the tests that need no worker processes
	@scripts/test-fast $(ARGS)

coverage: ## Run the unit, contract and integration tests, and show what no test runs
	@scripts/coverage $(ARGS)

chaos: ## Run the chaos tests in their long form, and write their figures into the documentation
	@scripts/chaos $(ARGS)

nightly: ## Run for hours what .ci/run has no time for
	@scripts/nightly

test-wheel: ## Run the tests against the built wheel instead of the checkout
	@scripts/test-wheel $(ARGS)

test-oldest: ## Run what touches Redis with the oldest redis-py that is allowed
	@scripts/test-oldest $(ARGS)

test-newest: ## Run the hostile tasks and what starts them with the newest Python on this machine
	@scripts/test-newest $(ARGS)

check: ## Check lint, format, types, prose and layers
	@scripts/check

format: ## Format the code and repair what lint can repair
	@scripts/venv dev
	@.venv/bin/ruff check --fix-only --quiet
	@.venv/bin/ruff format

docs: ## Build the documentation as a site, into site/
	@scripts/docs

bench: ## Run the benchmarks
	@scripts/venv test
	@.venv/bin/python -m benchmarks.all

venv: ## Make or update .venv with all that development needs
	@scripts/venv dev

clean: ## Remove the environment, caches and built things
	@scripts/clean

# `make` alone lists the targets. Everything runs in .venv, which `make setup` builds.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
# Ray starts many processes: each would compile the package again where the environment forbids to keep bytecode.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help setup demo check fast lint test bench dashboards lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## build .venv from constraints.txt (again only when the dependencies change)

demo: $(STAMP) ## a small sweep on digits, its report and its joules, in ./demo
	$(BIN)/collapse sweep jobs/specs/digits_sweep.yaml seeds=[0] run.workers=1 run.store=demo/store
	$(BIN)/collapse report demo/store --out demo
	$(BIN)/collapse ledger demo/store --by stage

check: $(STAMP) ## lint and the fast tests side by side, before every commit
	@$(MAKE) --no-print-directory --output-sync -j2 lint fast

fast: $(STAMP)
	$(BIN)/pytest -q -m "not slow and not cluster and not gpu"

lint: $(STAMP) ## style, format, architecture contracts, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo
	$(BIN)/pyright --pythonpath $(BIN)/python

test: $(STAMP) ## every test that needs no GPU; those that start Ray have the machine to themselves
	$(BIN)/pytest -n auto -m "not cluster and not gpu"
	$(BIN)/pytest -m "cluster and not gpu"

bench: $(STAMP) ## every benchmark, one after the other
	set -e; for script in benchmarks/*.py; do $(BIN)/python "$$script"; done

dashboards: $(STAMP) ## Grafana dashboards, alert rules and the tables of docs/monitoring.md, from the code
	$(BIN)/python -m collapse_ray.monitoring

lock: ## write constraints.txt anew from pyproject.toml (with the lowest Python that is supported)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' \
		|| { echo "lock with Python 3.11: make lock PYTHON=/path/to/python3.11"; exit 1; }
	rm -rf build/lock
	$(PYTHON) -m venv build/lock
	build/lock/bin/pip install --quiet -e '.[dev]'
	{ sed -n '/^#/p' constraints.txt; build/lock/bin/pip freeze --all --exclude pip --exclude-editable | sed 's/+[a-z0-9.]*$$//'; } > build/constraints.txt
	mv build/constraints.txt constraints.txt

clean: ## remove .venv, caches and build outputs (never a store)
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) > /dev/null \
		|| { echo "$(PYTHON) is not found: install Python 3.11, 3.12 or 3.13, or give one with PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
		|| { echo "$$($(PYTHON) --version) is not supported: collapse-ray needs 3.11, 3.12 or 3.13; give one with PYTHON=/path/to/python3"; exit 1; }
	@echo "installing into .venv: several minutes the first time"
	@$(BIN)/python -m pip --version > /dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

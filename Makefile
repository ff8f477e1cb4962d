# Everything runs in .venv, which the first target that needs it builds: python3 and pip are enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
export TF_CPP_MIN_LOG_LEVEL ?= 3

.DEFAULT_GOAL := help
.PHONY: help demo test bench check fix clean

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "stackfuse needs Python 3.11 or newer: make PYTHON=python3.12 ..."; exit 1; }
	@echo "Building $(VENV) (TensorFlow is a large download; this takes a minute or two) ..."
	@if command -v uv >/dev/null 2>&1; then \
		uv venv --quiet --allow-existing --python $(PYTHON) $(VENV) && \
		uv pip install --quiet --python $(BIN)/python -e '.[dev]'; \
	else \
		$(PYTHON) -m venv $(VENV) && \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'; \
	fi
	@touch $@

demo: $(READY)  ## Train, search, export and verify a stack on real data
	@$(BIN)/stackfuse demo

test: $(READY)  ## Run the tests
	@$(BIN)/python -m pytest -n 2 --dist loadfile

bench: $(READY)  ## Measure speed against peers
	@for script in benchmarks/[a-z]*.py; do $(BIN)/python $$script || exit 1; done

check: $(READY)  ## Lint, check types and the import contract
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports
	@$(BIN)/pyright

fix: $(READY)  ## Reformat and repair what the linter can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

clean:  ## Remove everything that was built
	rm -rf $(VENV) build dist demo-output *.egg-info .pytest_cache .ruff_cache .import_linter_cache

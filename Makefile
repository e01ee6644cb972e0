# Two commands: `make demo` runs the main job, `make test` runs lint, types and every test. Both
# install what they need into .venv with pip (a plain uv resolve pulls 3 GB of CUDA torch).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALL := $(PIP) install --quiet --constraint constraints.txt
PYTEST := $(BIN)/python -m pytest

.PHONY: demo test lint types bench exhaustive clean

demo: $(VENV)/.installed-demo
	$(BIN)/refocal compare --out refocal-compare
	$(BIN)/refocal plot --out refocal-compare/focal.svg

test: lint types
	$(PYTEST) -n 2 --cov=refocal --cov-report=term:skip-covered --cov-fail-under=95

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-test
	$(BIN)/mypy

bench: $(VENV)/.installed-test
	$(BIN)/python -m benchmarks

# minutes to an hour; stop it at any time, it goes on where it was
exhaustive: $(VENV)/.installed-test
	$(BIN)/python -m trust.exhaustive

clean:
	rm -rf $(VENV) build dist .coverage .mypy_cache .pytest_cache .ruff_cache

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --upgrade 'pip>=25.1'  # dependency groups

$(VENV)/.installed-demo: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) --editable '.[cpu,compare]'
	touch $@

$(VENV)/.installed-test: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) --editable '.[cpu,compare]' --group test --group hosts --group lint
	touch $@

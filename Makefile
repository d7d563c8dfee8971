# Every target does its own set-up: a virtual environment inside the checkout, made once.
#   make demo                    the main job on data that is shipped
#   make test                    what CI checks: lint, types, import contracts, tests
#   make test PYTHON=/path/...   the same with an interpreter that has the package installed; nothing is set up
#   make test-large              real sizes too: gigabytes and minutes

BASE_PYTHON ?= python3
VENV := .venv
PYTHON := $(VENV)/bin/python
SOURCES := $(shell find registry_core plugins -name '*.py' -o -name '*.jsonl')

# PYTHON given on the command line means: use it as it is.
ifeq ($(origin PYTHON),command line)
READY :=
else
READY := $(VENV)/.package
endif

.PHONY: demo test test-large check format bench bench-tokenizer clean

demo: $(READY)
	$(PYTHON) -P examples/first_model/demo.py

test: check
	$(PYTHON) -P -m pytest -n 2

test-large: check
	$(PYTHON) -P -m pytest -m "large or not large"

check: $(READY)
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy
	$(PYTHON) -c "from importlinter.cli import lint_imports_command; lint_imports_command()"

format: $(READY)
	$(PYTHON) -m ruff format .
	$(PYTHON) -m ruff check --fix .

bench: $(READY)
	$(PYTHON) benchmarks/creation.py

bench-tokenizer: $(READY)
	$(PYTHON) benchmarks/tokenizer.py

$(VENV)/.environment: pyproject.toml constraints.txt
	@$(BASE_PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; say which by BASE_PYTHON=python3.12"; exit 1; }
	$(BASE_PYTHON) -m venv $(VENV)
	$(PYTHON) -m pip install --quiet --upgrade pip "setuptools>=77"
	$(PYTHON) -m pip install --quiet -c constraints.txt -e ".[image,text,test,parity,lint]" -C editable_mode=strict
	@touch $@

# Strict editable installs link file by file: a new file is seen after this.
$(VENV)/.package: $(VENV)/.environment $(SOURCES)
	$(PYTHON) -m pip install --quiet --no-deps --no-build-isolation -e . -C editable_mode=strict
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

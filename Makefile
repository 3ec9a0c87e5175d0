PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
SECONDS ?=
QUICK ?=
FIGURES = .bench/$(if $(QUICK),quick,figures).json
PORT ?= 8000

.PHONY: help demo test test-browser screenshots test-faults bench figures lint types tox clean

help:
	@echo "make demo [SECONDS=20] [PORT=8000]"
	@echo "                        the example shop with real traffic, on http://127.0.0.1:8000"
	@echo "make test               the whole suite"
	@echo "make test-browser       the admin in a real Chromium: a minute"
	@echo "make screenshots        the pictures of the docs, anew"
	@echo "make test-faults        the promises, broken on purpose, at full scale: ten minutes"
	@echo "make bench [QUICK=1]    what it costs beside its floors and beside others, as ratios: a quarter"
	@echo "                        of an hour, or two minutes"
	@echo "make figures            what the last bench has measured, into the docs"
	@echo "make lint types tox     what a change must pass besides"

# One environment, one stamp for each extra, renewed when the metadata change.
$(VENV)/.installed-%: setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is older than Python 3.11: name another with PYTHON=..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing what '$*' needs into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@

demo: $(VENV)/.installed-demo
	@$(BIN)/python -m example_project.demo --port $(PORT) $(if $(SECONDS),--seconds $(SECONDS))

test: $(VENV)/.installed-test
	@$(BIN)/python -m pytest

test-browser: $(VENV)/.installed-browser
	@$(BIN)/python -m pytest tests/browser

screenshots: $(VENV)/.installed-browser
	@$(BIN)/python -m pytest tests/browser/screenshots.py

test-faults: $(VENV)/.installed-test $(VENV)/.installed-postgres
	@rm -f .faults-report
	@FAULTS=full FAULTS_REPORT=.faults-report $(BIN)/python -m pytest tests/faults
	@sort .faults-report
	@SUITE_AS=acl $(BIN)/python -m pytest --ignore=tests/faults
	@SUITE_AS=tls REDIS_SERVER=redis-server $(BIN)/python -m pytest --ignore=tests/faults

bench: $(VENV)/.installed-bench
	@$(BIN)/python -m benchmarks $(if $(QUICK),--quick) --save $(FIGURES)

figures: $(VENV)/.installed-bench
	@$(BIN)/python -m benchmarks.publish $(FIGURES) docs

lint: $(VENV)/.installed-lint
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .

types: $(VENV)/.installed-types
	@$(BIN)/mypy --no-error-summary

tox: $(VENV)/.installed-tox
	@$(BIN)/tox run --quiet

clean:
	rm -rf $(VENV) .tox build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

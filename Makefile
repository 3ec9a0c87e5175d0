PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
SECONDS ?=
QUICK ?=
FIGURES = .bench/$(if $(QUICK),quick,figures).json
PORT ?= 8000
PACKAGES = together oscar tenants
LANGUAGES = de es fr
CHECKOUT ?= .

.PHONY: help demo test test-programs test-databases test-browser test-packages $(PACKAGES:%=test-packages-%) \
	screenshots test-faults test-wagtail bench figures messages lint types tox clean

help:
	@echo "make demo [SECONDS=20] [PORT=8000]"
	@echo "                        run the example shop with real traffic, on http://127.0.0.1:8000"
	@echo "make test               run the tests: five minutes"
	@echo "make test-programs      start programs: the demo, the commands, what the guides say, and the tests"
	@echo "                        of a project that uses this app: three minutes"
	@echo "make test-databases     compare recorded events with the rows of PostgreSQL and MariaDB, and test"
	@echo "                        the sinks on both: two minutes"
	@echo "make test-browser       test the admin in a real Chromium: two minutes"
	@echo "make test-packages      test recordings of models that use other packages: a minute"
	@echo "make screenshots        take the screenshots of the docs again"
	@echo "make test-faults        try to break the promises, at full scale: fifty minutes"
	@echo "make test-wagtail [CHECKOUT=.]"
	@echo "                        run Wagtail's own tests with every model recorded: a quarter of an hour"
	@echo "make bench [QUICK=1]    measure the cost, compared with bare Redis and other projects:"
	@echo "                        half an hour, or three minutes"
	@echo "make figures            write the figures of the last full benchmark into the docs"
	@echo "make messages           collect the texts to translate, compile the translations, and print"
	@echo "                        the texts that have none"
	@echo "make lint types tox     the other checks that a change must pass"

# One virtual environment. An empty file per extra shows that the extra is installed. It is made
# again when the metadata of the package change.
$(VENV)/.installed-%: setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is older than Python 3.11. Name another one with PYTHON=..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the packages for '$*' into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@

demo: $(VENV)/.installed-demo
	@$(BIN)/python -m example_project.demo --port $(PORT) $(if $(SECONDS),--seconds $(SECONDS))

test: $(VENV)/.installed-test
	@$(BIN)/python -m pytest

test-programs: $(VENV)/.installed-test
	@$(BIN)/python -m pytest tests/guides tests/programs tests/projects

test-databases: $(VENV)/.installed-test $(VENV)/.installed-postgres $(VENV)/.installed-mysql
	@DATABASES=all $(BIN)/python -m pytest tests/differential tests/sinks \
		tests/faults/test_receipts.py

test-browser: $(VENV)/.installed-browser
	@$(BIN)/python -m pytest tests/browser

# The packages have a virtual environment of their own, so that no other test depends on them. Each
# group has settings of its own, and so a process of its own. Deprecations are their own affair.
test-packages:
	@$(MAKE) --no-print-directory --keep-going VENV=$(VENV)-packages $(PACKAGES:%=test-packages-%)

$(PACKAGES:%=test-packages-%): test-packages-%: $(VENV)/.installed-packages
	@$(BIN)/python -m pytest --numprocesses=0 --ds=tests.packages.$*.settings \
		-W ignore::DeprecationWarning -W ignore::PendingDeprecationWarning tests/packages/$*

screenshots: $(VENV)/.installed-browser
	@$(BIN)/python -m pytest tests/browser/screenshots.py

test-faults: $(VENV)/.installed-test $(VENV)/.installed-postgres $(VENV)/.installed-mysql
	@rm -f .faults-report
	@FAULTS=full FAULTS_REPORT=.faults-report $(BIN)/python -m pytest tests/faults tests/differential \
		tests/memory_redis tests/programs tests/projects
	@sort .faults-report
	@SUITE_AS=acl $(BIN)/python -m pytest --ignore=tests/faults --ignore=tests/differential
	@SUITE_AS=acl $(BIN)/python -m pytest tests/programs
	@SUITE_AS=cluster $(BIN)/python -m pytest tests/store tests/appending tests/draining tests/contrib
	@SUITE_AS=tls REDIS_SERVER=redis-server $(BIN)/python -m pytest --ignore=tests/faults --ignore=tests/differential
	@SUITE_AS=tls REDIS_SERVER=redis-server $(BIN)/python -m pytest tests/programs

test-wagtail: $(VENV)/.installed-wagtail
	@$(BIN)/python -m tests.faults.wagtail_suite --checkout '$(CHECKOUT)'

bench: $(VENV)/.installed-bench
	@$(BIN)/python -m benchmarks $(if $(QUICK),--quick) --save $(FIGURES)

figures: $(VENV)/.installed-bench
	@cp .bench/figures.json benchmarks/figures.json
	@$(BIN)/python -m benchmarks.publish benchmarks/figures.json docs

# Needs gettext. Prints what a translator has still to do: nothing if the translations are complete.
messages: $(VENV)/.installed-test
	@cd django_jsonbuffer && \
		$(abspath $(BIN))/django-admin makemessages --verbosity 0 $(LANGUAGES:%=--locale=%) \
			--add-location=file --no-obsolete && \
		$(abspath $(BIN))/django-admin compilemessages --verbosity 0 $(LANGUAGES:%=--locale=%)
	@for language in $(LANGUAGES); do \
		catalog=django_jsonbuffer/locale/$$language/LC_MESSAGES/django.po; \
		msgattrib --untranslated $$catalog; \
		msgattrib --only-fuzzy $$catalog; \
	done

lint: $(VENV)/.installed-lint
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .

types: $(VENV)/.installed-types
	@$(BIN)/mypy --no-error-summary

tox: $(VENV)/.installed-tox
	@$(BIN)/tox run --quiet

clean:
	rm -rf $(VENV) $(VENV)-packages .tox build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

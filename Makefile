# Every command of the project is a target here; `make` alone lists them.
# It needs only make and Python 3.11 or newer: the first target that needs tools makes .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# How many test processes: `make test JOBS=1 ARGS='-k replay -x'`
JOBS ?= auto
# How many mutations run at a time. With more of them than processors, tests reach their time limits.
MUTATION_JOBS ?= 2
ARGS ?=

# pytest rewrites the assertions of a test file once and caches the result, unless this variable is set.
unexport PYTHONDONTWRITEBYTECODE

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-20s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

$(READY): requirements/dev.txt pyproject.toml tools/environment.sh
	@sh tools/environment.sh "$(PYTHON)" "$(VENV)"
	@printf '%s\n' "$(CURDIR)" > $@

# A virtual environment contains its own path, so it has to be made again after the tree was moved or copied.
ifneq ($(shell cat $(READY) 2>/dev/null),$(CURDIR))
.PHONY: $(READY)
endif

.PHONY: install
install: $(READY) ## make or repair .venv (every other target does it when needed)

.PHONY: check
check: check-format check-lint check-mypy check-pyright check-architecture check-tree ## all checks that do not run the code

# Pyright and the types on Windows take most of the time of `make check`; continuous integration runs all of it.
.PHONY: check-quick
check-quick: $(READY) ## for the inner loop: ruff, mypy, import contracts, and pyright of the changed files; runs all of them
	$(BIN)/python -m tools.check_quick

.PHONY: check-format
check-format: $(READY) ## ruff: formatting
	$(BIN)/ruff format --check .

.PHONY: check-lint
check-lint: $(READY) ## ruff: rules
	$(BIN)/ruff check .

.PHONY: check-mypy
check-mypy: $(READY) ## mypy --strict: types
	$(BIN)/mypy --strict
	$(BIN)/mypy --strict --platform win32 --cache-dir .mypy_cache/win32 romancy backends

.PHONY: check-pyright
check-pyright: $(READY) ## pyright strict: types
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright

.PHONY: check-architecture
check-architecture: $(READY) ## import-linter: which package may import which
	$(BIN)/lint-imports --no-logo --no-cache
	$(BIN)/lint-imports --no-logo --no-cache --config tools/cycles.toml

.PHONY: check-tree
check-tree: $(READY) ## sizes of files and functions, links, host names, machine paths, commit subjects
	$(BIN)/python -m tools.check_sizes
	$(BIN)/python -m tools.check_links
	$(BIN)/python -m tools.check_hosts
	$(BIN)/python -m tools.check_commits

# A run that names tests runs all of them, on every database: `make test ARGS=tests/core/test_run.py`
NAMED = $(filter -k% -m% %.py tests% conformance_tests% ./% /%,$(ARGS))
# A fault that breaks everything shows in the first failures; --maxfail=0 in ARGS shows all of them.
PYTEST = $(BIN)/python -m pytest -n $(JOBS) --dist worksteal --durations=10 --maxfail=20

# Two processes compile the tests, half of them each. Otherwise every test process would compile all of them.
COMPILED := $(VENV)/.tests-compiled
COMPILE = $(BIN)/python -m pytest -p no:cacheprovider --collect-only -qq >/dev/null 2>&1
$(COMPILED): | $(READY)
	@echo "compiling the tests, once"
	@$(COMPILE) tests & $(COMPILE) conformance_tests; wait
	@touch $@

.PHONY: test
test: $(READY) $(if $(NAMED),,$(COMPILED)) ## every promise once, in parallel: the contract on memory, SQLite and a server, the rest on one, by turns
	$(PYTEST) --tier $(if $(NAMED),all,short) $(ARGS)

# Against another commit: `make test-quick ARGS='--base main~3'`; after larger changes: `make test-quick ARGS=--record`
.PHONY: test-quick
test-quick: $(READY) ## for the inner loop: the tests that enter the changed functions, on memory, SQLite and one server
	$(BIN)/python -m tools.quick -n $(JOBS) --dist worksteal --maxfail=20 $(ARGS)

.PHONY: test-long
test-long: $(READY) $(if $(NAMED),,$(COMPILED)) ## the tests that `make test` leaves out: the other databases, crashes, faults, mutations, builds
	$(PYTEST) --tier long $(ARGS)

.PHONY: test-siblings
test-siblings: $(READY) ## what both tiers leave out: the other one of MySQL and MariaDB, fronts on the other databases
	$(PYTEST) --tier siblings $(ARGS)

# Most of the time is waited for locks and servers, so the processes are few.
.PHONY: test-engines
test-engines: $(READY) ## the tests on engines that are built or put together from several servers: some minutes each
	$(BIN)/python -m pytest -n 1 --dist loadfile --durations=10 -o silence=2400 --tier engines $(or $(ARGS),tests/engines)

# It has no package, so it is built into the cache of servers, once. The suites then run on it: `make test-tidb ARGS=-x`
.PHONY: test-tidb
test-tidb: $(READY) ## the suites on TiDB, which is built first, once, in some six minutes of two processors; needs Go
	$(BIN)/python -m romancy_conformance.servers install tidb
	ROMANCY_TEST_BACKENDS=tidb $(PYTEST) --tier all $(ARGS) conformance_tests tests/backends/mysql/test_tidb.py \
		tests/backends/mysql/test_dialect.py

# Likewise: `make test-vitess ARGS=-x`
.PHONY: test-vitess
test-vitess: $(READY) ## the suites on Vitess, which is built first, once, in some five minutes of two processors; needs Go
	$(BIN)/python -m romancy_conformance.servers install vitess
	ROMANCY_TEST_BACKENDS=vitess $(PYTEST) --tier all $(ARGS) conformance_tests tests/backends/mysql/test_vitess.py

.PHONY: test-again
test-again: $(READY) ## the few tests that failed last in each tier, alone; reports those that pass as unsteady
	$(BIN)/python -m tools.second_look

# Another one by its name: `make test-fresh ARGS=12-user`; --help lists them.
.PHONY: test-fresh
test-fresh: $(READY) ## demo and test on fresh Debian 12 and 13, as root and as a user; needs root or user namespaces
	$(BIN)/python -m tools.machines.fresh $(ARGS)

# Each makes its environments in build/machines and writes docs/where-it-runs/runs.json: `make test-pythons ARGS='3.12 3.14t'`
.PHONY: test-pythons
test-pythons: $(READY) ## the suite on memory and SQLite on each supported Python that can be had here
	$(BIN)/python -m tools.machines.pythons $(ARGS)

# `make test-floors ARGS='core http'`
.PHONY: test-floors
test-floors: $(READY) ## the tests of the core and of each extra, with the lowest versions that pyproject.toml names
	$(BIN)/python -m tools.machines.resolutions floors $(ARGS)

.PHONY: test-newest
test-newest: $(READY) ## the suite on memory and SQLite with the newest versions of all packages; warns and does not fail
	$(BIN)/python -m tools.machines.resolutions newest

.PHONY: test-wheels
test-wheels: $(READY) ## for which systems and Pythons the pinned dependencies have wheels
	$(BIN)/python -m tools.machines.wheels
	$(BIN)/python -m tools.machines.records

# One part: `make test-windows ARGS=contract`; --help is in tools/machines/windows.py.
.PHONY: test-windows
test-windows: $(READY) ## the wheel on Windows' CPython under Wine: programs, contract, behaviour; needs root on Linux
	$(BIN)/python -m tools.machines.windows $(ARGS)

.PHONY: soak
soak: $(READY) ## the tests marked soak, with large numbers
	ROMANCY_SOAK=1 $(BIN)/python -m pytest -m soak --timeout=3600 $(ARGS)

.PHONY: planting
planting: $(READY) ## plant faults into the engine one by one, and count the simulated slices that find each
	$(BIN)/python -m tools.planting $(ARGS)

# A printed seed repeats its slice, byte for byte: `make simulate ARGS='--seed last --first 10 --slices 1 --story FILE'`
.PHONY: simulate
simulate: $(READY) ## a cluster in one thread, in simulated time: random programs, dying processes, a bad wire, one seed
	$(BIN)/python -m romancy_conformance.simulation $(if $(SEED),--seed $(SEED)) $(if $(WORKERS),--workers $(WORKERS)) $(ARGS)

# A printed seed repeats its round: `make chaos ARGS='--backend postgres --seed last1 --first 10 --rounds 1'`
.PHONY: chaos
chaos: $(READY) ## random programs under killed, frozen and drained workers and killed servers, compared with an oracle
	$(BIN)/python -m romancy_conformance.chaos $(ARGS)

# Removes each fence in the SQL of an adapter from a copy of the tree, where a named test must fail: `make mutations ARGS='A4 B1'`
# With --systematic, every condition of every statement in turn: `make mutations ARGS='--systematic --dialect sqlite due claimed'`
.PHONY: mutations
mutations: $(READY) ## remove each fence of the SQL in turn, and count those that no test notices
	$(BIN)/python -m tools.mutations --jobs $(MUTATION_JOBS) $(ARGS)

# Continuous integration runs it: some statements of SQLite, which has most of the texts that all databases share.
.PHONY: mutations-changed
mutations-changed: $(READY) ## the mutants of SQLite's statements that this branch has changed, in four minutes
	$(BIN)/python -m tools.mutations --systematic --dialect sqlite --changed --minutes 4 --jobs $(MUTATION_JOBS) $(ARGS)

.PHONY: demo
demo: $(READY) ## romancy demo: kill a process half way, and let the next one finish its work
	$(BIN)/romancy demo $(ARGS)

# `make bench ARGS='--scenario sequential --who romancy --who floor --rounds 1'`; --help lists scenarios and sizes.
.PHONY: bench
bench: $(READY) ## the core table: the floor, Romancy and its peers; results, tables and charts in build/bench/results
	$(BIN)/python -m benchmarks $(ARGS)

.PHONY: bench-all
bench-all: $(READY) ## every scenario and every peer; continues an interrupted run
	$(BIN)/python -m benchmarks --all $(ARGS)

.PHONY: bench-compare
bench-compare: $(READY) ## this tree and another commit, in turn: `make bench-compare BASE=main~5`
	$(BIN)/python -m benchmarks.compare $(BASE) $(ARGS)

.PHONY: lock-bench
lock-bench: $(READY) ## write benchmarks/drivers/pins/*.txt again from the *.in files beside them
	@for pins in benchmarks/drivers/pins/*.in; do \
		$(BIN)/uv pip compile $$pins --quiet --universal --generate-hashes \
			--python-version $$(sed -n '1s/^# Python //p;1q' $$pins | grep . || echo 3.11) \
			--no-emit-index-url --custom-compile-command 'make lock-bench' $(LOCK_ARGS) --output-file $${pins%.in}.txt; \
	done

.PHONY: test-docs
test-docs: $(READY) ## check the links of README and docs, run every code block in them, and the table of searches
	$(BIN)/python -m tools.check_links
	$(BIN)/python -m pytest tests/project/test_documentation.py tests/project/test_reference.py \
		tests/project/test_search_page.py $(ARGS)

# The site has a separate environment, because only it needs Sphinx.
DOCS := build/docs-venv/bin
$(DOCS)/sphinx-build: requirements/docs.txt | $(READY)
	$(BIN)/python -m venv --clear build/docs-venv
	$(DOCS)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/docs.txt
	@touch $@

# From nothing each time: Sphinx repeats no warning about a page that has not changed.
.PHONY: docs
docs: $(READY) $(DOCS)/sphinx-build ## build the site in build/docs; fails on a warning, a page without a link, a dead reference, a bad search
	@rm -rf build/docs
	$(DOCS)/python -m sphinx -W --keep-going -n -q -c docs . build/docs $(ARGS)
	$(BIN)/python -m tools.check_site build/docs

.PHONY: lock-docs
lock-docs: $(READY) ## write requirements/docs.txt again from requirements/docs.in
	$(BIN)/uv pip compile requirements/docs.in --quiet --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --custom-compile-command 'make lock-docs' $(LOCK_ARGS) \
		--output-file requirements/docs.txt

.PHONY: format
format: $(READY) ## format the code with ruff and apply its fixes
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

# Keeps pins that still fit; `make lock LOCK_ARGS=--upgrade` takes the newest version of every package.
.PHONY: lock
lock: $(READY) ## write requirements/dev.txt again from pyproject.toml
	$(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --all-extras --group dev \
		--generate-hashes --no-emit-index-url --custom-compile-command 'make lock' $(LOCK_ARGS) \
		--output-file requirements/dev.txt

.PHONY: release-check
release-check: $(READY) ## check version and changelog, build sdist and wheel into dist, try them in an empty environment
	$(BIN)/python -m tools.release_check

.PHONY: clean
clean: ## remove .venv and all built and cached files of the tree; say where the cache of servers is
	@if [ -x $(BIN)/python ]; then $(BIN)/python -m romancy_conformance.servers cache || true; fi
	rm -rf $(VENV) build dist .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: clean-cache
clean-cache: $(READY) ## remove the servers, roots and packages that all checkouts of this account share
	$(BIN)/python -m tools.machines.fresh --clean
	$(BIN)/python -m romancy_conformance.servers clean --cache

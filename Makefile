# For a newcomer: `make demo` and `make test` are enough; nothing has to be activated or installed before.
# DEMO_ARGS="--duration 30", TEST_ARGS="-k task", TEST_PROCESSES=0 (one test after the other), BENCH_ARGS="--table redis-3",
# PYTHON=python3.12, CELERY=5.4, GRAFANA=11 change what is run.

PYTHON ?= python3
DEMO_ARGS ?=
TEST_ARGS ?=
TEST_PROCESSES ?= 4
BENCH_ARGS ?=
SOAK_SECONDS ?= 600
SOAK_ARGS ?=
FUZZ_MESSAGES ?= 1000000
FUZZ_ARGS ?=
CELERY ?= 5.3
GRAFANA ?= 13
IMAGE ?= celery-exporter
BUILD_ARGS ?=
BIN := .venv/bin
# Pages show what was measured, whether it was good or not.
RENDER := code=$$?; $(BIN)/python -m benchmarks.render; exit $$code

export PYTHON
# Tests and benchmarks start hundreds of processes, and without bytecode files each compiles what it imports.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help .venv demo test test-slow test-celery lint format docs screenshots dashboards dashboard-pictures chart bench soak fuzz matrix recordings image image-check release-check clean

help: ## Say what can be made
	@awk -F ':.*## ' '/^[a-z.-]+:.*## / {printf "make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/stamp-demo ## Run a broker, workers, a workload and the exporter on http://localhost:9808
	@$(BIN)/celery-exporter demo $(DEMO_ARGS)

# Each process takes whole files, the longest first (tests/conftest.py): they share servers that are expensive to start.
PYTEST := $(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder

test: .venv/stamp-dev ## Run the tests; installs RabbitMQ, Prometheus, Chromium and others when the machine lets it
	@scripts/install-backends
	@scripts/install-helm
	@scripts/install-viewer
	@$(PYTEST) -m "not slow" $(TEST_ARGS)

test-slow: .venv/stamp-dev ## Run the second tier of tests: the README's commands, alerts from end to end
	@scripts/install-backends
	@scripts/install-viewer
	@$(PYTEST) -m slow $(TEST_ARGS)

test-celery: .venv/stamp-dev ## Run the tests that can differ beside an older Celery, CELERY=5.3 by default
	@$(BIN)/python -m tests.matrix celery-$(CELERY) --processes $(TEST_PROCESSES)

lint: .venv/stamp-dev ## Check style (ruff), types (mypy) and layers (import-linter)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: .venv/stamp-dev ## Format the code and fix what can be fixed by itself
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: .venv/stamp-dev ## Write docs/metrics.md and docs/flags.md from the code
	@mkdir -p docs
	$(BIN)/celery-exporter metrics --format markdown > docs/metrics.md.new
	mv docs/metrics.md.new docs/metrics.md
	$(BIN)/python -c "from celery_metrics_exporter.cli import options, reference as r; print(r.options_as_markdown(options.run_options()), end='')" \
		> docs/flags.md.new
	mv docs/flags.md.new docs/flags.md

screenshots: .venv/stamp-dev ## Take the pictures of the status page in docs/images (needs chromium and pngquant)
	$(BIN)/python -m tests.browser.screenshots

dashboards: .venv/stamp-dev ## Write grafana/dashboards from their Python source
	$(BIN)/python -m grafana.source

dashboard-pictures: .venv/stamp-dev ## Draw the dashboards with the component library of Grafana GRAFANA (13, 11) in five scenarios
	@scripts/install-backends
	@scripts/install-viewer $(GRAFANA)
	$(BIN)/python -m tests.grafana.viewer.pictures $(GRAFANA)

chart: .venv/stamp-dev ## Write the table of values into the chart's README
	$(BIN)/python -m helm.readme

bench: .venv/stamp-dev ## Measure what the exporter and others cost, into benchmarks/ and README.md (40 minutes)
	@scripts/install-backends
	$(BIN)/python -m benchmarks --output benchmarks/results $(BENCH_ARGS); $(RENDER)

soak: .venv/stamp-dev ## Load the exporter for SOAK_SECONDS like a busy cluster, into benchmarks/SOAK.md
	@scripts/install-backends
	$(BIN)/python -m benchmarks.soak --seconds $(SOAK_SECONDS) --output benchmarks/results $(SOAK_ARGS); $(RENDER)

fuzz: .venv/stamp-dev ## Send FUZZ_MESSAGES mutants of real messages through the exporter, into tests/fuzz/RESULTS.md
	$(BIN)/python -m tests.fuzz --messages $(FUZZ_MESSAGES) --output benchmarks/results $(FUZZ_ARGS); $(RENDER)

matrix: .venv/stamp-dev ## Run the tests with other servers, Celerys and Pythons, into docs/compatibility.md (root on Debian; hours)
	$(BIN)/python -m tests.matrix --output benchmarks/results; $(RENDER)

matrix-%: .venv/stamp-dev # one column
	$(BIN)/python -m tests.matrix --output benchmarks/results $*; $(RENDER)

recordings: .venv/stamp-dev ## Record events of real workers of five Celery versions anew (minutes)
	$(BIN)/python -m tests.recordings.record

image: ## Build the image IMAGE with Docker, labelled from git; BUILD_ARGS adds to the build's arguments
	docker build --tag $(IMAGE) \
		--build-arg VERSION=$$(sed -n 's/^__version__ = "\(.*\)"$$/\1/p' exporter/celery_metrics_exporter/__init__.py) \
		--build-arg REVISION=$$(git describe --always --dirty --abbrev=40 --exclude='*' || echo unknown) \
		--build-arg CREATED=$$(git log -1 --format=%cI || echo 1970-01-01T00:00:00Z) $(BUILD_ARGS) .

image-check: .venv/stamp-dev ## Build the image with buildah and run it, into benchmarks/IMAGE.md (root on Debian; minutes)
	@scripts/install-backends
	$(BIN)/python -m tests.image --output benchmarks/results; $(RENDER)

release-check: .venv/stamp-dev ## Build, install and check what a release publishes, into dist/ (other Pythons: root on Debian; many minutes)
	$(BIN)/python -m tests.release

clean: ## Remove the virtual environment and all caches
	rm -rf .venv build dist *.egg-info .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv: .venv/stamp-dev ## Create the development environment

.venv/stamp-demo: pyproject.toml constraints.txt scripts/make-venv
	@scripts/make-venv demo

.venv/stamp-dev: pyproject.toml constraints.txt scripts/make-venv
	@scripts/make-venv demo,dev

.DEFAULT_GOAL := help
PYTHON ?= python3
PROFILE ?= profiles/bert_crisis_tiny.toml
BIN := .venv/bin
JOBS ?= 2
# Two OpenMP pools on two cores slow each other down tenfold: one thread a process. A file's tests share what they make.
TEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile
WHOLE := 'squeeze/core/*,squeeze/artifact.py,squeeze/profile/*,squeeze/pipeline/*' # every branch is covered
TORCH := 2.13.0
CPU_INDEX := https://download.pytorch.org/whl/cpu
ASK := import urllib.request as u; u.urlopen('$(CPU_INDEX)/torch/', timeout=5)
.PHONY: $(shell sed -n "s/^\([a-z-]*\):.*/\1/p" Makefile)

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "make %-13s %s\n", $$1, $$2}'
install: .venv/installed ## make .venv and install everything, with the CPU build of torch

# Torch comes first: PyPI's default is a CUDA build of several GB. The index of CPU builds is used when it answers.
.venv/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@index="$$($(BIN)/python -c "$(ASK)" 2>/dev/null && echo --extra-index-url $(CPU_INDEX) || true)"; \
	$(BIN)/pip install --progress-bar off -c constraints.txt torch==$(TORCH) $$index
	$(BIN)/pip install --progress-bar off -c constraints.txt -e '.[demo,dev]'
	@touch $@
run: install ## run the demo profile to the end (PROFILE=path for another); offline after install
	$(BIN)/squeeze run $(PROFILE)
smoke: install ## run the smallest profile, in seconds
	$(BIN)/squeeze run profiles/smoke.toml
bench: install ## measure the demo's exported model
	$(BIN)/squeeze run $(PROFILE) --until bench
acceptance: smoke ## the campaigns that CI has no time for (DATA=path)
	$(BIN)/python -m tools.golden compare --run runs/golden && $(BIN)/python -m benchmarks.parts --data "$(or $(DATA),../shared/data)" --parts acceptance
benchmark: install ## hold squeeze against other tools (DATA=path RUNS=path PARTS="peers front"; all: everything)
	$(BIN)/python -m benchmarks.parts $(if $(DATA),--data "$(DATA)") $(if $(RUNS),--runs "$(RUNS)") $(if $(PARTS),--parts "$(PARTS)")
test: install ## run the test suite (JOBS=0 for one process, when something else runs)
	$(TEST)
test-devices: device-parts ## test devices with nothing missing: ssh, adb, emulated arm64
	SQUEEZE_DEVICES=all $(TEST) tests/targets/devices
device-parts: install ## what test-devices needs, from Debian and PyPI; apt-get installs some of it
	tools/device_parts.sh $(BIN)/squeeze
cov: install ## run the test suite and hold its branch coverage against the limits
	$(TEST) --cov --cov-report=
	$(BIN)/coverage report
	$(BIN)/coverage report --fail-under=100 --include=$(WHOLE)
check: static cov ## all that must hold: format, lint, types, layers, tests with docs, coverage
static: fmt-check lint types layers ## the checks that run nothing
fmt: install ## format and fix what can be fixed
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .
fmt-check: install
	$(BIN)/ruff format --check .
lint: install ## ruff
	$(BIN)/ruff check .
types: install ## mypy
	$(BIN)/mypy
layers: install ## import-linter
	$(BIN)/lint-imports
docs: install ## write docs/profile.md, docs/bench.md and the schema of reports anew from the models
	$(BIN)/python -m tools.profile_docs && $(BIN)/python -m tools.bench_docs

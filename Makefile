# medk2n: the commands for people and for CI. `make` alone lists them.
#
#   V            where the environment lives                        (default .venv)
#   PYTHON       the Python that builds it, 3.11 or newer            (default python3)
#   TORCH_INDEX  a further index to take PyTorch from, such as that of its CPU builds where there is no GPU
#                (about 200 MB instead of about 3 GB of CUDA libraries)
#   PIP_EXTRA    anything else for pip, such as --find-links /media/usb/wheels --no-index
#   WORKERS      how many test processes `make test` runs side by side                        (default 2)
#   ARGS         passed on to the command: make demo ARGS="--study DIR", make test ARGS="tests/unit -x"

SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

V           ?= .venv
PYTHON      ?= python3
TORCH_INDEX ?=
PIP_EXTRA   ?=
WORKERS     ?= 2
ARGS        ?=

VIEWER := tests/viewer/node_modules/.package-lock.json

PY    := $(V)/bin/python
PIP   := $(PY) -m pip --disable-pip-version-check
LOCKED = $(PIP) install --no-deps --no-build-isolation --require-hashes $(PIP_EXTRA)

# sam2's setup.py must not look for a CUDA compiler; somebody else's PYTHONPATH must not win over what is installed here.
export SAM2_BUILD_CUDA := 0
unexport PYTHONPATH

.PHONY: help install train demo test check format bench docs wheel lock clean

help:  ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/\1|\2/' \
	  | while IFS='|' read -r name words; do printf '  make %-8s %s\n' "$$name" "$$words"; done

install: $(V)/.base  ## the environment in .venv with the node in it, nothing else

train: $(V)/.train  ## what `medk2n train` needs, on top

demo: $(V)/.demo  ## a study goes in, a synthetic series comes back, on this machine alone (two minutes)
	@$(V)/bin/medk2n demo $(ARGS)

test: $(V)/.test $(VIEWER)  ## the whole test suite
	OMP_NUM_THREADS=1 $(PY) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

check: $(V)/.dev  ## lint, format, types, and who may import whom
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(V)/bin/lint-imports
	$(PY) docs/build.py --check

format: $(V)/.dev  ## put the source in the form that `make check` wants
	$(PY) -m ruff check --fix-only --quiet .
	$(PY) -m ruff format .

bench: $(V)/.test  ## how well the node names series, and how fast this machine receives and synthesises
	$(PY) bench/run.py $(ARGS)

docs: $(V)/.base  ## redraw the parts of docs/ that come from the code
	$(PY) docs/build.py

wheel: $(V)/.base  ## dist/medk2n-*.whl
	$(PIP) wheel --no-deps --no-build-isolation --wheel-dir dist .

lock:  ## write the hashes again after a pin in requirements/*.in has changed (needs uv)
	@for pair in base:lock demo:demo train:train test:test dev:dev; do \
	  uv pip compile --quiet --no-deps --universal --python-version 3.11 --generate-hashes --no-annotate \
	    --custom-compile-command 'make lock' requirements/$${pair%:*}.in --output-file requirements/$${pair#*:}.txt; \
	done

clean:  ## remove the environment and everything built
	rm -rf $(V) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

# The order matters. PyTorch goes first, by itself, so that the build that fits this machine is taken; the rest goes
# in without dependency resolution, so that nothing can lift it; sam2 leaves a stray package `training` behind, which
# would hide ours; the project goes last.
$(V)/.base: pyproject.toml requirements/torch.txt requirements/lock.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: medk2n needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) -V 2>&1). make PYTHON=python3.12 ..." >&2; exit 1; }
	@echo "[1/5] a new environment in $(V)"
	@$(PYTHON) -m venv $(V)
	@echo "[2/5] PyTorch (the largest part: 200 MB without CUDA, 3 GB with)"
	@$(PIP) install -r requirements/torch.txt $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) $(PIP_EXTRA)
	@echo "[3/5] $$(grep -c '==' requirements/lock.txt) locked packages"
	@$(LOCKED) -r requirements/lock.txt
	@echo "[4/5] clearing away what sam2 leaves behind"
	@$(PY) medk2n_node/installation/stray.py
	@echo "[5/5] medk2n itself"
	@$(PIP) install --no-deps --no-build-isolation --no-index -e .
	@touch $@

$(V)/.demo: requirements/demo.txt $(V)/.base
	@echo "[demo] tissue maps for the phantom, a plotting library, and dciodvfy to judge what comes back"
	@$(LOCKED) -r requirements/demo.txt
	@touch $@

$(V)/.train: requirements/train.txt $(V)/.demo
	@echo "[train] what the training on one's own archive needs"
	@$(LOCKED) -r requirements/train.txt
	@touch $@

# The tests read mamba-ssm's source; its kernels are neither compiled nor fetched.
$(V)/.test: export MAMBA_SKIP_CUDA_BUILD := TRUE
$(V)/.test: export MAMBA_FORCE_BUILD := TRUE
$(V)/.test: requirements/test.txt $(V)/.train
	@echo "[test] the test runner"
	@$(LOCKED) -r requirements/test.txt
	@touch $@

# The viewer in which the tests open results, at the versions of its lock file and without running anybody's scripts.
# Without npm the tests that need it say so. npm writes this file last: what an interrupted installation leaves is no target.
$(VIEWER): tests/viewer/package-lock.json
	@if command -v npm >/dev/null; then echo "[test] the viewer that results are opened in"; \
	  npm ci --prefix tests/viewer --ignore-scripts --no-audit --no-fund --loglevel=error && touch $@; \
	else echo "[test] npm is not installed, so no result is opened in a viewer"; fi

$(V)/.dev: requirements/dev.txt $(V)/.test
	@echo "[dev] ruff, mypy, import-linter"
	@$(LOCKED) -r requirements/dev.txt
	@touch $@

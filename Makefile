# Each target is complete on a fresh machine with Python >= 3.11: it makes .venv and installs what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test test-slow test-slurm test-browser check bench clean

$(READY): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -c 'import sys; assert sys.version_info >= (3, 11), "Python 3.11 or newer is needed: make PYTHON=python3.12"'
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $(READY)

demo: $(READY)
	$(BIN)/paws train configs/digits.yaml --overwrite --compare

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m "not slow and not slurm and not browser"

test-slow: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow

# Installs Debian's SLURM, starts one of two nodes on the loopback, and ends it: as root.
test-slurm: $(READY)
	tests/slurm/cluster install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slurm tests/slurm

# Installs Chromium where there is none: as root.
test-browser: $(READY)
	command -v chromium > /dev/null && command -v chromedriver > /dev/null || { apt-get update && apt-get install --yes --no-install-recommends chromium chromium-driver; }
	$(BIN)/python -m pip install --quiet --editable '.[dev,browser]'
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m browser tests/browser

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m "not slow and not slurm and not browser" tests/test_losses.py tests/config tests/test_optim.py tests/data

bench: $(READY)
	$(BIN)/python -m benchmarks.views --quick
	$(BIN)/python -m benchmarks.step --quick
	$(BIN)/python -m benchmarks.digits --quick
	$(BIN)/python -m benchmarks.bn_momentum --quick
	$(BIN)/python -m benchmarks.own_images --quick
	$(BIN)/python -m benchmarks.index --quick
	$(BIN)/python -m benchmarks.nt_xent --quick
	$(BIN)/python -m benchmarks.ranks --quick
	$(BIN)/python -m benchmarks.suggest --quick
	$(BIN)/python -m benchmarks.suspicious --quick
	$(BIN)/python -m benchmarks.relabel --quick
	$(BIN)/python -m benchmarks.embed --quick

clean:
	rm -rf $(VENV) runs

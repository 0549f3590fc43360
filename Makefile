# Each target is complete on a fresh machine with Python >= 3.11: it makes .venv and installs what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo demo-train test trust fuzz test-slow test-slurm test-browser lint check bench clean

$(READY): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -c 'import sys; assert sys.version_info >= (3, 11), "Python 3.11 or newer is needed: make PYTHON=python3.12"'
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $(READY)

# Your own images, with an example that the package makes: fit, page, predictions; then the training of a network.
demo: $(READY)
	test -d runs/example || $(BIN)/paws example runs/example
	$(BIN)/paws fit runs/example/photos --labels runs/example/labels.csv --test runs/example/test.csv --no-mirror -o runs/example/run
	$(BIN)/paws report runs/example/run

demo-train: $(READY)
	$(BIN)/paws train configs/digits.yaml --overwrite --compare

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m "not slow and not slurm and not browser"

# The table of inputs: every verb on bad, odd and right ones, and how many ended otherwise than they must.
trust: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 tests/trust/test_table.py

# Ten minutes of random files for the parsers; a case that is found belongs into the table.
fuzz: $(READY)
	end=$$(($$(date +%s) + 600)); while [ $$(date +%s) -lt $$end ]; do \
	    PAWS_FUZZ=500 OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/trust/test_parsers*.py || exit 1; done

test-slow: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow

# Installs Debian's SLURM, starts one of two nodes on the loopback, and ends it: as root.
test-slurm: $(READY)
	tests/slurm/cluster install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slurm tests/slurm

# Installs Chromium where there is none: as root. Two thousand pictures labelled in the page are among the slow tests.
test-browser: $(READY)
	command -v chromium > /dev/null && command -v chromedriver > /dev/null || { apt-get update && apt-get install --yes --no-install-recommends chromium chromium-driver; }
	$(BIN)/python -m pip install --quiet --editable '.[dev,browser]'
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "browser and not slow" tests/browser

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# What to run before a commit: the quick half of the tests, then what CI asks for at its end.
check: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m "not slow and not slurm and not browser" tests/test_losses.py tests/config tests/test_optim.py tests/data

# Every benchmark's short form. All of them run; the end is an error when one of them misses its bar.
QUICK := house views soft_nn step digits bn_momentum folders own_images index nt_xent ranks suggest suspicious relabel embed crowded label_efficiency labelling first_fit
bench: $(READY)
	failed=; for name in $(QUICK); do \
	    echo "== $$name"; $(BIN)/python -m benchmarks.$$name --quick || failed="$$failed $$name"; \
	done; test -z "$$failed" || { echo "missed a bar, or failed:$$failed"; exit 1; }

clean:
	rm -rf $(VENV) runs

# make demo   sets everything up and runs the whole way on photographs that a dependency ships
# make test   sets everything up and runs the tests; IDN_DATA=<data root> adds those on the real images
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --no-compile --constraint .ci/constraints.txt

.PHONY: demo test lint bench clean
demo: $(VENV)/.demo
	$(BIN)/idn demo --out demo

test: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2

bench: $(VENV)/.bench
	$(BIN)/python tests/benchmarks/bench_imresize.py
	$(BIN)/python tests/benchmarks/bench_make_train.py
	$(BIN)/python tests/benchmarks/bench_train.py
	$(BIN)/python tests/benchmarks/compare_bicubics.py

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# one stamp for each set of extras, older than what it was made from when that changes
$(VENV)/.%: $(VENV)/bin/python pyproject.toml .ci/constraints.txt
	$(PIP) --editable '.[$*]'
	touch $@

clean:
	rm -rf $(VENV) demo build dist *.egg-info

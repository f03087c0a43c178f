# make demo   sets everything up and runs the whole way on photographs that a dependency ships
# make test   sets everything up and runs the checks and the tests; IDN_DATA=<data root> adds those on the real images
# make check  the quick part of it: style and types
#
# PYTHON=…  the interpreter that .venv is made with; VENV=… another folder for it, for a second interpreter
# TORCH=…   what pip is to be told of torch, where its default build is not wanted: on Linux that one has CUDA, 3.5 GB to
#           download; TORCH='torch --index-url URL', with the URL that pytorch.org shows for CPU, is a tenth of that
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --no-compile --constraint .ci/constraints.txt

# pip leaves the compiling to Python, which does it for what is imported, once; where this is set, it does so at each start
export PYTHONDONTWRITEBYTECODE :=

.DELETE_ON_ERROR: # a .venv whose making failed half-way is made anew
.PHONY: demo test check bench clean
demo: $(VENV)/.demo
	$(BIN)/idn demo --out demo

# style and types are tests too, so that they run beside the others
test: $(VENV)/.test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist worksteal

check: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@$(BIN)/python -c "import sys; sys.exit(sys.version_info >= (3, 11))" \
		&& echo "mypy left out: the last numpy for Python 3.10 has other types" || $(BIN)/mypy

bench: $(VENV)/.bench
	$(BIN)/python tests/benchmarks/bench_imresize.py
	$(BIN)/python tests/benchmarks/bench_make_train.py
	$(BIN)/python tests/benchmarks/bench_train.py
	$(BIN)/python tests/benchmarks/compare_bicubics.py

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# one stamp for each set of extras, older than what it was made from when that changes
$(VENV)/.%: $(VENV)/bin/python pyproject.toml .ci/constraints.txt
	$(if $(TORCH),$(PIP) $(TORCH))
	$(PIP) --editable '.[$*]'
	touch $@

clean:
	rm -rf $(VENV) demo build dist *.egg-info

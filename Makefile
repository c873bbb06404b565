# make run   the whole workflow on built-in data, into one folder of outputs/
# make test  lint and all tests
# Both make .venv first where it is missing or older than what it is made from.
PYTHON ?= $(firstword $(shell command -v python3.11 python3))
BIN := .venv/bin
PIP := PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip --disable-pip-version-check install --quiet
SOURCES := pyproject.toml constraints.txt
# What `make run` trains, from the weights that ship: a few minutes on 2 cores.
# make run ARGS='-p preset small -p samples 3000 -p steps 2000' begins with random ones.
run: ARGS ?= -p samples 2000 -p steps 150

.PHONY: run test lint lab clean

run: .venv/ready-run
	$(BIN)/handlib run $(ARGS)

test: .venv/ready-test lint
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder $(ARGS)

lint: .venv/ready-test
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	$(BIN)/nbstripout --verify notebooks/*.ipynb

lab: .venv/ready-run
	$(BIN)/jupyter lab notebooks

clean:
	rm -rf .venv

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'handlib needs Python 3.11 or newer: make PYTHON=/path/to/python3.11'; exit 1; }
	$(PYTHON) -m venv .venv

# torch first: whatever depends on it then keeps the version that constraints.txt names.
.venv/ready-run: .venv/bin/python $(SOURCES)
	@echo 'installing into .venv (a few minutes the first time)'
	$(PIP) "$$(grep '^torch==' constraints.txt)"
	$(PIP) -e '.[lab]'
	@touch $@

.venv/ready-test: .venv/ready-run
	$(PIP) -e '.[lab,test,onnx]'
	@touch $@

# Everything here needs Python 3.11 to 3.14, and nothing else. `make` alone says what there is.

PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null && echo $$python && break; done)
VENV := .venv
REFERENCE_VENV := .venv-reference
INDEX_VENV := .venv-index
INSTALL := PYTHON='$(PYTHON)' infra/install.sh
LOCKED := pyproject.toml infra/install.sh infra/lock.txt infra/model.txt $(wildcard encoder/backends/cpu/compiled/kernels/*)

# What is imported is compiled once, whatever the environment says: 500 files of tests in each of two processes, and every command line that they start.
export PYTHONDONTWRITEBYTECODE :=

.NOTPARALLEL:
SEEDS ?= 100000
FIRST ?= 0

.PHONY: simulate help demo test test-long test-reference test-index check ci kernels clean

help:
	@echo 'make demo            embed the documentation of the Python standard library, verify and search it; then edit some and sync'
	@echo 'make test            the tests that need neither a GPU nor torch, in under five minutes on two cores'
	@echo 'make test-long       the slow ones: installation, Ray, kills, storage failures, hostile files; ten more minutes'
	@echo 'make test-reference  the same vectors as sentence-transformers and transformers (installs a CPU build of torch)'
	@echo 'make test-index      `embermill load` into eight real indexes (installs them into a separate environment, 600 MB)'
	@echo 'make check           ruff, mypy, and the walls between the packages'
	@echo 'make ci              check, test, test-long, test-index and test-reference'
	@echo 'make simulate        run the driver under its simulator with 100,000 seeds, on every core (SEEDS=… FIRST=…)'
	@echo 'make kernels         compile every GPU kernel, and emulate the portable and the Hopper ones on the CPU'
	@echo 'make clean           remove the environments and the output of the demo'

demo: $(VENV)/.runs
	infra/demo/demo.sh $(VENV)/bin

# Two processes, each with whole files of tests: what a file sets up (a Ray, a server) is set up once. tests/conftest.py puts the longest first.
# One that dies ends the run: pytest-xdist would start another, give it the files that are left, and wait for ever for the last test of each.
TWO_PROCESSES := -n 2 --dist loadfile --no-loadscope-reorder --max-worker-restart 0

test: $(VENV)/.tests
	$(VENV)/bin/python -m pytest $(TWO_PROCESSES) -m 'not long'

test-long: $(VENV)/.tests
	$(VENV)/bin/python -m pytest $(TWO_PROCESSES) -m long

# One thread of torch in each: more meet at a barrier after every operation, and spin there while another process has the core.
test-reference: $(REFERENCE_VENV)/.reference
	OMP_NUM_THREADS=1 $(REFERENCE_VENV)/bin/python -m pytest $(TWO_PROCESSES) -m reference

test-index: $(INDEX_VENV)/.index
	$(INDEX_VENV)/bin/python -m pytest $(TWO_PROCESSES) -m index tests/jobs/index tests/jobs/export

check: $(VENV)/.tests
	$(VENV)/bin/ruff check --no-cache
	$(VENV)/bin/mypy
	$(VENV)/bin/python -m pytest -q tests/test_walls.py

ci: check test test-long test-index test-reference

simulate: $(VENV)/.tests
	$(VENV)/bin/python -m tests.jobs.simulation $(SEEDS) $(FIRST)

kernels:
	PYTHON='$(PYTHON)' infra/kernels/compile.sh

clean:
	rm -rf $(VENV) $(REFERENCE_VENV) $(INDEX_VENV) .venv-kernels demo build .mypy_cache .ruff_cache .pytest_cache .hypothesis

# What is installed is remembered by an empty file in the environment; a changed lock installs again.
$(VENV)/.runs: $(LOCKED)
	$(INSTALL) $(VENV)
	@touch $@

$(VENV)/.tests: $(LOCKED) infra/lock-test.txt
	$(INSTALL) $(VENV) infra/lock-test.txt
	@touch $@ $(VENV)/.runs

$(REFERENCE_VENV)/.reference: $(LOCKED) infra/lock-test.txt infra/install_reference.sh infra/lock-reference.txt \
		infra/reference-tokenizer.txt infra/reference-model.txt infra/join_reference_model.py
	$(INSTALL) $(REFERENCE_VENV) infra/lock-test.txt
	infra/install_reference.sh $(REFERENCE_VENV)
	@touch $@

$(INDEX_VENV)/.index: $(LOCKED) infra/lock-index.txt
	$(INSTALL) $(INDEX_VENV) infra/lock-index.txt
	@touch $@

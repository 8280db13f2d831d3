# Everything runs in .venv, which is made on first use. `make help` lists the targets.
PYTHON ?= python3
VENV ?= .venv
PYTEST_ARGS ?=

BIN := $(abspath $(VENV))/bin
PY := $(BIN)/python
PIP := $(PY) -m pip install --quiet --disable-pip-version-check
BUILT := $(VENV)/.built
SOURCES := setup.py pyproject.toml $(filter-out klfast/_engine.c,$(wildcard klfast/*.pyx klfast/*.pxi klfast/*.pxd klfast/*.c)) \
           $(shell find src_c -name '*.[ch]')
COPIED := klfast src_c tests docs setup.py pyproject.toml README.md LICENSE

.PHONY: help build demo test test-c bench growth bench-compare accuracy sanitize sanitize-address sanitize-undefined dist clean distclean
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

help:  ## list the targets
	@sed -n 's/^\([a-z -]*\):.*## /\1|/p' $(MAKEFILE_LIST) | while IFS='|' read -r name text; \
		do printf '  make %-38s %s\n' "$$name" "$$text"; done

build: $(BUILT)  ## create .venv, build klfast in place

demo: $(VENV)/.extra-demo $(BUILT)  ## neighbours of 128,544 image patches: numbers, a graph, a picture
	@$(BIN)/klfast demo

test: $(VENV)/.extra-test $(BUILT) test-c  ## C tests, then Python tests; PYTEST_ARGS="-k name" selects
	@$(PY) -m pytest $(PYTEST_ARGS)

test-c:  ## only the C tests
	@$(MAKE) --no-print-directory -C tests/c test

bench: $(VENV)/.extra-bench $(BUILT)  ## the workloads beside other libraries, as one table (long)
	@$(PY) -m benchmarks.report $(BENCH_ARGS)

accuracy: $(VENV)/.extra-test $(VENV)/.extra-bench $(BUILT)  ## regenerate docs/accuracy.md: klfast and other libraries against exact values
	@$(PY) -m benchmarks.accuracy

growth: $(VENV)/.extra-bench $(BUILT)  ## figures of time against n, m, K, k and threads, in docs/growth (two minutes)
	@$(PY) -m benchmarks.growth $(BENCH_ARGS)

bench-compare: $(BUILT)  ## this tree against BASE=<revision>, interleaved
	@$(PY) -m benchmarks.compare $(BASE) $(BENCH_ARGS)

sanitize: sanitize-address sanitize-undefined  ## all tests under both sanitizers (long)

runtime = $(shell $(CC) -print-file-name=$(1))
sanitize-address: RUN = ASAN_OPTIONS=detect_leaks=0 \
	LD_PRELOAD="$(call runtime,libasan.so) $(call runtime,libstdc++.so.6)"
sanitize-undefined: RUN = UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1

# A copy of the tree, so that the build in place stays as it is.
sanitize-address sanitize-undefined: sanitize-%: $(VENV)/.extra-test  ## all tests under one
	@echo "building with -fsanitize=$*"
	@rm -rf build/$@ && mkdir -p build/$@ && cp -R $(COPIED) build/$@
	@cd build/$@ && rm -rf klfast/*.so klfast/_engine.c tests/c/build
	@cd build/$@ && CC="$(CC)" KLFAST_SANITIZE=$* $(PY) setup.py --quiet build_ext --inplace
	@$(MAKE) --no-print-directory -C build/$@/tests/c test SANITIZE=$*
	@cd build/$@ && PYTHONPATH=$(CURDIR)/build/$@ $(RUN) $(PY) -m pytest -p no:cacheprovider $(PYTEST_ARGS)

dist: $(PY)  ## source distribution and wheel in dist/
	@$(PIP) build
	@rm -rf dist && $(PY) -m build --outdir dist . > build.log 2>&1 || { cat build.log; exit 1; }
	@rm -f build.log && ls dist

clean:  ## remove what was built, keep .venv
	rm -rf build dist *.egg-info klfast/_engine.c klfast/*.so $(BUILT)

distclean: clean  ## remove .venv and the demo's output too
	rm -rf $(VENV) demo_output

# ---- the environment -------------------------------------------------------------------------------------

$(PY):
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and \
		"klfast needs Python 3.11 or newer, this is %d.%d: make PYTHON=python3.x" % v[:2])'
	@echo "creating $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(BUILT): $(SOURCES) | $(PY)
	@echo "building klfast"
	@$(PY) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' \
		> $(VENV)/build-requires.txt && $(PIP) -r $(VENV)/build-requires.txt
	@$(PIP) --no-build-isolation --editable .
	@touch $@

# klfast itself is installed: pip only adds what the extra lacks.
$(VENV)/.extra-%: pyproject.toml | $(BUILT)
	@echo "installing what the extra '$*' needs"
	@$(PIP) 'klfast[$*]'
	@touch $@

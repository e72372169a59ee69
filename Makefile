# Shortcuts for bootstrap.py, which needs no make: `python bootstrap.py run` does the same as `make run`.
# Further arguments go into ARGS: make test ARGS="-k stations".

# Really started, since a pyenv shim may be on PATH and fail. Any Python >= 3.6 will do: bootstrap.py finds a newer one.
PYTHON := $(shell for p in python3 python python3.12 python3.13 python3.14; do \
	if $$p -c 'import sys; sys.exit(sys.version_info < (3, 6))' >/dev/null 2>&1; then echo $$p; break; fi; done)
BOOTSTRAP := $(if $(PYTHON),$(PYTHON) bootstrap.py,echo "There is no working Python on PATH: install Python 3.12" >&2; exit 2;)

.DEFAULT_GOAL := help
.PHONY: run stream up down test check bench chaos test-kubernetes reset lock help

run: ; @$(BOOTSTRAP) run $(ARGS)
stream: ; @$(BOOTSTRAP) stream $(ARGS)
up: ; @$(BOOTSTRAP) up $(ARGS)
down: ; @$(BOOTSTRAP) down $(ARGS)
test: ; @$(BOOTSTRAP) test $(ARGS)
check: ; @$(BOOTSTRAP) check $(ARGS)
bench: ; @$(BOOTSTRAP) bench $(ARGS)
chaos: ; @$(BOOTSTRAP) chaos $(ARGS)
test-kubernetes: ; @$(BOOTSTRAP) test-kubernetes $(ARGS)
reset: ; @$(BOOTSTRAP) reset $(ARGS)
lock: ; @$(BOOTSTRAP) lock $(ARGS)
help: ; @$(BOOTSTRAP) help

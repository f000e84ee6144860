# The environment is .venv here, with the command at .venv/bin/foveola.
# Another interpreter:  make demo PYTHON=python3.12

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# 2 workers; a file stays on one of them, so that its module-scoped fixtures are made once, and files
# come in the order of tests/conftest.py, the longest first
PYTEST_FLAGS ?= -n 2 --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help demo test check format docs clean

help: ## list the targets
	@grep -E '^[a-z]+:.*## ' Makefile | sed -E 's/:[^#]*## /\t/' | while IFS="$$(printf '\t')" read -r name text; \
	do printf '  make %-8s %s\n' "$$name" "$$text"; done

demo: $(VENV)/.core ## render phantoms, index them, search, and write a report to demo/
	@$(BIN)/foveola demo

test: check ## style and types, then every test
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PYTEST_FLAGS)

check: $(VENV)/.dev ## ruff and mypy, without changing a file
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(VENV)/.dev ## let ruff mend what it can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

docs: $(VENV)/.dev ## build the site of the manual into site/; a warning is an error
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean: ## remove the demo and all caches; the environment stays (rm -r .venv)
	rm -rf demo build dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests benchmarks examples docs -name __pycache__ -prune -exec rm -rf {} +

# Stamps: an environment is made once, and again when what it is made from changes.
# uv is fast and resolves torch with torchvision; where it can't be had or can't reach
# the registry (it does not read pip's own settings), pip does the same more slowly.
# Compiled at once, as whoever uses the environment may not be allowed to write to it, or may have
# PYTHONDONTWRITEBYTECODE set: every start of the command would compile all it imports again.
define install
	@if [ -x $(BIN)/uv ] && $(BIN)/uv pip install --compile-bytecode --python $(BIN)/python -c constraints.txt -e "$(1)"; \
	then :; else \
	echo "uv could not install Foveola; trying pip, which takes longer." >&2; \
	$(BIN)/python -m pip install -c constraints.txt -e "$(1)"; fi
	@$(BIN)/python -m compileall -q src
	@touch $@
endef

$(VENV)/.core: $(VENV)/.base pyproject.toml constraints.txt
	@echo "Installing Foveola into $(VENV)" >&2
	$(call install,.)

$(VENV)/.dev: $(VENV)/.base pyproject.toml constraints.txt
	@echo "Installing Foveola with its training and development parts into $(VENV); several GB" >&2
	$(call install,.[dev])

$(VENV)/.base:
	@command -v "$(PYTHON)" >/dev/null || { \
	echo "$(PYTHON) is not installed; Foveola needs Python 3.11 or newer. Name another: make demo PYTHON=python3.12" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	echo "$(PYTHON) is $$("$(PYTHON)" -V 2>&1); Foveola needs Python 3.11 or newer. Name another: make demo PYTHON=python3.12" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
	echo "$(PYTHON) lacks the venv module. On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@"$(PYTHON)" -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet uv || true
	@touch $@

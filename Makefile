# make swahili   install everything, crawl the packaged site, train a small model, write its cards (no network after the install)
# make test      install everything, run the fast tests (WORKERS=2 processes)
# make test-all  the slow tests too (half an hour)
# make lint      ruff, mypy, import-linter; make format repairs what can be repaired
# make install   the environment alone: .venv, by uv; TORCH=cuda or TORCH=cpu chooses torch's build, PYTHON=python3.12 the Python of a new one
# make lock      requirements.lock from pyproject.toml: keeps what is pinned; delete lines of it first to renew those packages
# make schema    lang_configs/schema.json from the models of the configuration
# make clean     delete the environment and caches; what you built, in workspace, stays
PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2
BIN = $(VENV)/bin

# uv leaves bytecode to the first import; where nothing may be written, every process would compile torch anew: 5 s in place of 2.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: swahili test test-all lint format schema lock install clean again

swahili: install
	$(BIN)/lugha build swahili --preset starter

test: install
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m "not slow" --durations=10

test-all: install
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --durations=10

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

schema: install
	$(BIN)/python -c 'import json, lang_configs; print(json.dumps(lang_configs.json_schema(), indent=1, ensure_ascii=False))' > lang_configs/.schema.json
	mv lang_configs/.schema.json lang_configs/schema.json

install: $(VENV)/.installed

# A C++ compiler builds fasttext, which has no wheels, and is what torch.compile uses on a CPU.
# Choosing a build of torch installs again, whatever is there.
$(VENV)/.installed: requirements.lock pyproject.toml tools/install.py $(if $(TORCH),again)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "lugha needs Python 3.11 or newer: make PYTHON=python3.12"; exit 1; }
	@command -v g++ >/dev/null || { [ -x /usr/bin/apt-get ] && [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -y -qq g++ python3-dev; } \
		|| { echo "lugha needs a C++ compiler: sudo apt-get install g++ python3-dev"; exit 1; }
	$(PYTHON) tools/install.py install --venv $(VENV) --torch "$(TORCH)"
	touch $@

lock:
	$(PYTHON) tools/install.py lock --venv $(VENV)

clean:
	rm -rf $(VENV) .*_cache .hypothesis build dist
	find flows tasks lang_configs tests tools -name __pycache__ -prune -exec rm -rf {} +

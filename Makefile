# make report   everything, from an empty folder to the report   (STUDY PAIRS MODEL ON_BAD_PAIR MAX_PAIRS CONFIG)
# make pairs    the shipped pair sets, made anew for a model's tokenizer   (MODEL CONFIG)
# make compare  the ways of searching pairs, side by side: results/methods/methods   (CONFIG CORES)
# make atlas    for every head of the model the pair on which it matters most: results/atlas   (CONFIG CORES)
# make plan     jobs, core-hours, memory and disk of a study before it starts   (as make report)
# make verify   all results against their checksums; or two folders of results, each difference with its cause   (A B)
# make test     all tests; `make test ARGS="-k config"` for some
# make test-slurm  the small study under a real SLURM of one node   (Debian, root; installs SLURM)
# make test-s3   the small study with its results on an S3 server on loopback
# make test-container  the image of Containerfile, and the small study in it   (Debian, root)
# make test-page  the report and its explorer in a browser   (Debian, root; installs chromium, node)
# make test-envs   each of envs/ built from what it lists, running its scripts with nothing else
# make test-wheel  the package as a wheel in an empty environment, its three lines run there
# make test-gguf  imported GGUF files against llama.cpp's logits; renews docs/gguf.md
# make picture  docs/report.png anew, of results/ioi/report.html (needs chromium)
# make page     the script of the report's explorer, built of reports/explorer (needs node)
# make lint     formats, types, imports, the workflow's own checks
# make docs     the site of the documentation: build/docs/index.html
# make tutorial  runs notebooks/tutorial.ipynb; make docs then shows it with its outputs
# make bench    the engine against its alternatives
# make architectures  every architecture built tiny and compared with whole passes: docs/architectures.md
# make unlock   after a run that was killed, where the next one finds its folder locked   (as make report)
# make tokens   token ids against independent implementations   (ARGS: model folders, GGUF files)
# make setup    only the environment, with the package in it; make lock renews the exact versions
# make clean    removes results and caches; models and environment stay

PYTHON ?= python3
VENV ?= .venv
ifeq ($(origin CORES),undefined)
CORES := $(shell nproc 2>/dev/null || sysctl -n hw.ncpu 2>/dev/null || echo 1)
endif
SHELL := /bin/bash
# These two stand in names of files that make itself builds.
ifneq ($(words $(value VENV)) $(words $(value PYTHON)) $(findstring $$,$(value VENV)$(value PYTHON)),1 1 )
$(error VENV and PYTHON are one word each, without spaces and dollars)
endif

BIN := $(VENV)/bin
RUNTIME := $(VENV)/requirements.lock
PACKAGE := $(VENV)/pyproject.toml
DEVELOPMENT := $(VENV)/requirements-dev.lock
# What a user chooses reaches Snakemake through the environment (counterpoint/workflow/command_line.py): pasted
# into a recipe, a quote, a dollar or a backquote in a file's name would be read by the shell.
# $(value ...), since make itself would take a dollar for the beginning of a name.
CHOICES := STUDY PAIRS MODEL ON_BAD_PAIR MAX_PAIRS CONFIG CORES ARGS A B
unexport $(CHOICES)
$(foreach name,$(CHOICES),$(eval export COUNTERPOINT_$(name) = $$(value $(name))))
# WORDS are those of the target itself; what a user gives in ARGS follows them.
SNAKEMAKE = $(BIN)/python -m counterpoint.workflow.command_line $(WORDS)

.PHONY: report plan pairs compare atlas verify unlock setup setup-dev test test-slurm test-s3 test-container test-page test-envs test-wheel test-gguf page picture lint docs tutorial bench architectures tokens lock clean help
.DEFAULT_GOAL := help

help:
	@sed -n 's/^# //p' $(firstword $(MAKEFILE_LIST))

# Told before anything is installed. One file, whatever its name; or several, with spaces between.
define find_config
@set -f; test -f "$${COUNTERPOINT_CONFIG/#\~\//$$HOME/}" || for file in $$COUNTERPOINT_CONFIG; do \
	test -f "$${file/#\~\//$$HOME/}" || { echo "error: CONFIG: there is no file $$file" >&2; exit 1; }; done
endef

report:
	$(find_config)
	@started=$$(date +%s) && $(MAKE) --no-print-directory setup && $(SNAKEMAKE) && \
	$(BIN)/python -m counterpoint.workflow.command_line --made && \
	took=$$(( $$(date +%s) - started )) && echo "Time: $$(( took / 60 )) min $$(( took % 60 )) s, set-up included"

unlock: WORDS = --unlock
unlock:
	$(find_config)
	@$(MAKE) --no-print-directory setup && $(SNAKEMAKE)

plan: WORDS = plan
plan:
	$(find_config)
	@$(MAKE) --no-print-directory setup && $(SNAKEMAKE)

# A set that a tokenizer does not allow (it is told why) does not keep the others from being made.
pairs: WORDS = pair_sets --keep-going
pairs:
	@$(MAKE) --no-print-directory setup && $(SNAKEMAKE) && \
	echo && echo "Made:" && ls results/pair_sets/*/*.csv && \
	echo "Use one with: make report STUDY=NAME PAIRS=FILE MODEL=MODEL; what each column means stands in resources/pairs/*.md"

# Jobs are single searches, so that an interruption loses the few that run; called again, it goes on.
# A job that fails does not keep the others from being done. By Snakemake's own limit (100 jobs a
# second) every job that ends starts one more alarm that rings each second and weighs all waiting
# jobs anew: after 50 jobs of 305 that took a tenth of a core. Ten times rarer is early enough here.
compare: CONFIG = config.compare.yaml
compare: WORDS = methods --keep-going --max-jobs-per-timespan 1000/10s
compare: setup
	$(SNAKEMAKE) && $(BIN)/python -m benchmarks.counterfactuals --study "$${COUNTERPOINT_STUDY:-methods}"

# Searches write checkpoints: called again after an interruption, it goes on from there.
atlas: CONFIG = config.atlas.yaml
atlas: WORDS = atlas
atlas: setup
	$(SNAKEMAKE) && $(BIN)/python -m benchmarks.atlas --study "$${COUNTERPOINT_STUDY:-atlas}"

# Whether they differ is the answer, and the status of the command; make adds a line of its own.
verify: setup
	@$(BIN)/python -m counterpoint.workflow.compared_results

setup: $(PACKAGE)
	@:

setup-dev: $(DEVELOPMENT)
	@:

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	{ echo "error: Counterpoint needs Python 3.11 or later; $(PYTHON) is $$($(PYTHON) --version 2>&1); name another, as in: make report PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# A copy of the lock that was installed: redone when the lock's contents or time change, not before.
$(RUNTIME): requirements.lock $(VENV)/bin/python
	@echo "Installing the packages of requirements.lock into $(VENV) (about a minute)"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -r requirements.lock
	@cp requirements.lock $@

# The package itself, as a pointer to this folder, so that notebooks anywhere import it. Its builder
# stands in the lock: nothing is fetched for it. Done again when what describes the package changes.
$(PACKAGE): pyproject.toml $(RUNTIME)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@cp pyproject.toml $@

$(DEVELOPMENT): requirements-dev.lock $(PACKAGE)
	@echo "Installing the packages of requirements-dev.lock into $(VENV)"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -r requirements-dev.lock
	@cp requirements-dev.lock $@

test: setup-dev
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not cluster and not browser" $(ARGS)

test-slurm: setup-dev
	$(BIN)/python -m pytest -s --durations=0 tests/studies/test_slurm.py $(ARGS)

test-s3: setup-dev
	$(BIN)/python -m pytest -s --durations=0 tests/studies/test_s3.py $(ARGS)

test-container: setup-dev
	$(BIN)/python -m pytest -s --durations=0 tests/studies/test_container.py $(ARGS)

# Both stand in every Debian; where they are installed, nothing is.
test-page: setup-dev
	@missing="$$(command -v chromium >/dev/null || echo chromium) $$(command -v npm >/dev/null || echo nodejs npm)"; \
	test -z "$${missing// }" || \
	{ apt-get update -qq && apt-get install -qq --yes --no-install-recommends $$missing; }
	$(BIN)/python -m pytest -s --durations=0 -m browser tests/report tests/studies/test_snakemake_report.py $(ARGS)

test-envs: setup-dev
	$(BIN)/python -m pytest -s --durations=0 tests/studies/test_built_environments.py $(ARGS)

test-wheel: setup-dev
	$(BIN)/python -m pytest -s --durations=0 tests/package/test_wheel.py $(ARGS)

# llama.cpp runs in an environment of its own.
test-gguf: setup-dev
	$(PYTHON) -m venv $(VENV)-gguf
	$(VENV)-gguf/bin/python -m pip install -qq --disable-pip-version-check -r benchmarks/gguf_runtime.txt
	$(BIN)/python -m benchmarks.gguf_comparison $(VENV)-gguf/bin/python

# What is built is committed: who only makes reports needs no node. A test builds it once more and compares.
page:
	cd reports/explorer && npm ci --ignore-scripts --no-audit --no-fund && node build.mjs

picture: setup-dev
	$(BIN)/python docs/report_picture.py results/ioi/report.html

lint: setup-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/snakemake --lint
	$(BIN)/mypy
	$(BIN)/lint-imports

# In an environment of its own: pages are made from sources as they stand, so nothing else is needed.
$(VENV)-docs/requirements-docs.lock: requirements-docs.lock
	@$(PYTHON) -m venv $(VENV)-docs
	@echo "Installing the packages of requirements-docs.lock into $(VENV)-docs"
	@$(VENV)-docs/bin/python -m pip install -qq --disable-pip-version-check -r requirements-docs.lock
	@cp requirements-docs.lock $@

docs: $(VENV)-docs/requirements-docs.lock
	@$(VENV)-docs/bin/python -m sphinx --fail-on-warning --nitpicky --keep-going --quiet --fresh-env docs build/docs
	@$(VENV)-docs/bin/python docs/check_site.py build/docs
	@echo "The site: build/docs/index.html"

tutorial: setup
	@mkdir -p build
	$(BIN)/python -m papermill --log-output --no-progress-bar notebooks/tutorial.ipynb build/tutorial.ipynb

bench: setup
	$(BIN)/python -m benchmarks.positions
	$(BIN)/python -m benchmarks.head_roles
	$(BIN)/python -m benchmarks.edge_paths
	$(BIN)/python -m benchmarks.statistics
	$(BIN)/python -m benchmarks $(ARGS)

architectures: setup
	$(BIN)/python -m benchmarks.architectures $(ARGS)

tokens: setup-dev
	TOKEN_TEXTS=6000 $(BIN)/python -m pytest -n 2 tests/models/test_tokenizer.py tests/models/test_gguf_tokenizer.py
	$(BIN)/python -m benchmarks.tokens resources/models/* $(ARGS)

# The newest versions that requirements*.in allow, tried out in an environment of its own.
lock:
	rm -rf $(VENV)-lock
	$(PYTHON) -m venv $(VENV)-lock
	$(VENV)-lock/bin/pip install --quiet -r requirements.in
	{ sed -n 1p requirements.lock; $(VENV)-lock/bin/pip freeze | sed 's/+[a-z0-9.]*$$//'; } > requirements.lock.new
	$(VENV)-lock/bin/pip install --quiet -r requirements-dev.in -c requirements.lock.new
	{ sed -n 1p requirements-dev.lock; $(VENV)-lock/bin/pip freeze | sed 's/+[a-z0-9.]*$$//' | grep -vxFf requirements.lock.new; } > requirements-dev.lock.new
	$(PYTHON) -m venv --clear $(VENV)-lock-docs
	$(VENV)-lock-docs/bin/pip install --quiet -r requirements-docs.in
	{ sed -n 1p requirements-docs.lock; $(VENV)-lock-docs/bin/pip freeze; } > requirements-docs.lock.new
	mv requirements-docs.lock.new requirements-docs.lock
	rm -rf $(VENV)-lock-docs
	mv requirements.lock.new requirements.lock
	mv requirements-dev.lock.new requirements-dev.lock
	$(VENV)-lock/bin/python envs/pin.py
	rm -rf $(VENV)-lock

clean:
	rm -rf results .snakemake .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

# Two commands matter: `make demo` runs the whole thing, `make test` checks it. Both set everything up first.
SHELL := /bin/bash
.DELETE_ON_ERROR:
.PHONY: help demo test test-all forge-test lint-python lint-contracts prove coverage-contracts mutate-contracts lint format bench bench-compiler bench-contracts bench-federated bench-accuracy bench-privacy bench-byzantine bench-coverage bench-drawings bench-exact bench-sealed bench-tabular bench-networks bench-web scenario contracts artifacts wheel docs clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Node from the machine if it has one, else the one from PyPI that the dev install brings.
export PATH := $(PATH):$(CURDIR)/$(VENV)/bin
export FLWR_TELEMETRY_ENABLED := 0
export FLWR_DISABLE_UPDATE_CHECK := 1
export HF_HUB_OFFLINE := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

help: ## What there is to make
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 20

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "FedVM needs Python 3.11 or newer; set PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: $(BIN)/python pyproject.toml constraints.txt src/fedvm/evm/_keccak.c src/fedvm/evm/_keccak_lanes.h
	@echo "Installing FedVM and what it needs into $(VENV): some 2 GB the first time, which takes some minutes."
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime
	$(BIN)/pip install --quiet "pip>=25.1"
	$(BIN)/pip install --quiet --constraint constraints.txt --editable . --group dev
	@touch $@

# Node from the machine needs no Python, so that its packages, and what is compiled with them, wait for none.
contracts/node_modules/.installed: contracts/package-lock.json $(if $(shell command -v node),,$(VENV)/.dev)
	cd contracts && npm ci --no-progress
	@touch $@

demo: $(VENV)/.runtime ## Train with 16 phones under a contract's rules, then ask the contract what is in an image
	@rm -rf runs/demo
	$(BIN)/fedvm run examples/demo.toml --out runs/demo

test: ## Lint and the tests
	$(MAKE) --jobs 2 lint contracts
	$(BIN)/python -m pytest -n 2 -m "not slow"

tests/store/node/node_modules/.installed: tests/store/node/package-lock.json $(VENV)/.dev
	cd tests/store/node && npm ci --no-progress
	@touch $@

examples/solidity-consumer/node_modules/.installed: examples/solidity-consumer/package-lock.json $(VENV)/.dev
	cd examples/solidity-consumer && npm ci --no-progress
	@touch $@

# An environment of its own: Ape wants other packages than FedVM.
.venv-ape/.installed: examples/solidity-consumer/ape/requirements.txt
	$(PYTHON) -m venv .venv-ape
	.venv-ape/bin/pip install --quiet --requirement $<
	@touch $@

test-all: lint contracts prove coverage-contracts tests/store/node/node_modules/.installed examples/solidity-consumer/node_modules/.installed .venv-ape/.installed ## All tests, the slow ones and long fuzzing too
	$(BIN)/python -m pytest -n 2
	cd contracts && FOUNDRY_PROFILE=full node_modules/.bin/forge test --match-test 'testFuzz|invariant'

# An environment of its own: Halmos pins another z3 than the tests of the compiler use.
.venv-prove/.installed: contracts/symbolic-requirements.txt
	$(PYTHON) -m venv .venv-prove
	.venv-prove/bin/pip install --quiet --requirement $<
	@touch $@

prove: contracts/node_modules/.installed .venv-prove/.installed ## Prove the rules of the contracts with Halmos, and that each of them can fail
	$(PYTHON) contracts/tools/prove.py --halmos .venv-prove/bin/halmos

forge-test: contracts/node_modules/.installed ## Compile and test the Solidity sources, compare their gas snapshot
	cd contracts && node_modules/.bin/forge build
	cd contracts && FORGE_SNAPSHOT_CHECK=true node_modules/.bin/forge test
	cd contracts && node_modules/.bin/forge snapshot --no-match-contract 'Shared.*Test|InvariantTest' --no-match-test testFuzz --check --tolerance 1

contracts: forge-test $(VENV)/.dev ## The same, and the shipped artefacts; try the compilers that pragmas allow
	cd contracts && $(CURDIR)/$(BIN)/python tools/export_artifacts.py --check
	cd contracts && $(CURDIR)/$(BIN)/python tools/export_package.py --check
	cd contracts && $(CURDIR)/$(BIN)/python tools/matrix.py

artifacts: contracts/node_modules/.installed $(VENV)/.dev ## Rebuild the contract artefacts that ship in the package, and those of the npm package
	cd contracts && node_modules/.bin/forge build && $(CURDIR)/$(BIN)/python tools/export_artifacts.py && $(CURDIR)/$(BIN)/python tools/export_package.py

coverage-contracts: contracts/node_modules/.installed $(VENV)/.dev ## Which lines and branches of the contracts the Solidity tests run; at least 98 %
	cd contracts && $(CURDIR)/$(BIN)/python tools/coverage.py --least 98

mutate-contracts: contracts/node_modules/.installed $(VENV)/.dev ## Would the Solidity tests see a wrong contract? 500 seeded mutants, hours; goes on where it stopped
	cd contracts && PATH="$$PWD/node_modules/.bin:$$PATH" $(CURDIR)/$(BIN)/python tools/mutate.py

lint: lint-python lint-contracts ## ruff, mypy, vulture, forge fmt and lint, slither

lint-python: $(VENV)/.dev ## ruff, mypy, vulture
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/vulture

# They build in a folder of their own: what the tests are built to stays as it is.
lint-contracts: export FOUNDRY_OUT := cache/lint/out
lint-contracts: export FOUNDRY_CACHE_PATH := cache/lint
lint-contracts: contracts/node_modules/.installed $(VENV)/.dev ## forge fmt and lint, slither
	cd contracts && node_modules/.bin/forge fmt --check && node_modules/.bin/forge lint
	cd contracts && PATH="$$PWD/node_modules/.bin:$$PATH" $(CURDIR)/$(BIN)/slither . --config-file slither.config.json

format: $(VENV)/.dev contracts/node_modules/.installed ## Format all sources
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	cd contracts && node_modules/.bin/forge fmt

bench: bench-compiler bench-contracts ## All benchmarks
	$(BIN)/python benchmarks/bench_trees.py
	$(BIN)/python benchmarks/bench_sealed.py

bench-compiler: $(VENV)/.dev contracts/node_modules/.installed ## Gas, accuracy and compile time of the compiler
	$(BIN)/python benchmarks/bench_compiler.py $(if $(DATA),--data $(DATA))

bench-contracts: $(VENV)/.dev ## Gas of rounds and disputes, and the share of lies that are caught
	$(BIN)/python benchmarks/bench_contracts.py

# An environment of its own: pfl-research wants other packages than FedVM, and a Python before 3.13.
.venv-pfl/.installed: benchmarks/federated_bench/pfl-requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info >= (3, 13))' || { echo "pfl-research needs Python 3.12 or older; set PYTHON=/path/to/python3.12"; exit 1; }
	$(PYTHON) -m venv .venv-pfl
	.venv-pfl/bin/pip install --quiet --requirement $<
	@touch $@

bench-federated: $(VENV)/.dev .venv-pfl/.installed ## Time and memory of federated runs against Flower over Ray and pfl-research, with DATA=folder of CIFAR-10
	$(BIN)/python benchmarks/bench_federated.py --data $(DATA)

bench-accuracy: $(VENV)/.dev ## Test accuracy of the federated recipes, with DATA=folder of CIFAR-10; an hour, goes on when stopped
	$(BIN)/python benchmarks/bench_accuracy.py --data $(DATA)

bench-byzantine: $(VENV)/.dev ## Accuracy of every strategy under every attack, 0 to 40 % attackers; some ten minutes
	$(BIN)/python benchmarks/bench_byzantine.py

bench-coverage: $(VENV)/.dev ## How much of what people export from scikit-learn, Keras and PyTorch compiles; half an hour, goes on when stopped
	$(BIN)/python benchmarks/bench_coverage.py

bench-drawings: $(VENV)/.dev ## How many digits drawn with fonts, on paper, small or transparent, the demo's program reads
	$(BIN)/python benchmarks/bench_drawings.py

bench-exact: $(VENV)/.dev ## Is the contract the model? Thousands of random networks and ONNX's backend tests, with PROGRAMS=number; half an hour, goes on when stopped
	$(BIN)/python benchmarks/bench_exact.py $(if $(PROGRAMS),--programs $(PROGRAMS))

bench-sealed: $(VENV)/.dev ## Seconds, bytes and gas of sealed rounds beside open ones; some five minutes
	$(BIN)/python benchmarks/bench_sealed.py

bench-tabular: $(VENV)/.dev ## Accuracy and gas of scikit-learn's models as programs; goes on when stopped
	$(BIN)/python benchmarks/bench_tabular.py

bench-networks: $(VENV)/.dev contracts/node_modules/.installed ## Speed of piece CIDs and CAR files, 10,000 faults of networks (half an hour); audits, tampering, false alarms
	$(BIN)/python benchmarks/bench_networks.py
	$(BIN)/python benchmarks/bench_audits.py

scenario: $(VENV)/.dev contracts/node_modules/.installed ## A federation's life, from its creation to an audit elsewhere, on three local chains: the same addresses and digests; some five minutes
	$(BIN)/python benchmarks/bench_scenario.py

bench-web: $(VENV)/.dev ## First paint of the pages with 1,000 rounds and 10,000 decisions, axe-core on all kinds of pages, time of the notebook; needs chromium
	$(BIN)/python benchmarks/bench_web.py

bench-privacy: $(VENV)/.dev ## Accuracy against ε of differential privacy: local, in sealed sums, by a trusted curator; some five minutes
	$(BIN)/python benchmarks/bench_privacy.py

wheel: $(VENV)/.dev ## What a release publishes, in dist/: wheel, sources, bill of materials, checksums; built twice, and the same
	rm -rf dist
	$(BIN)/python tools/release.py dist --twice

docs: $(VENV)/.dev ## The documentation as a site in docs/_build, strictly: a link that leads nowhere is an error
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build
	@echo "Open docs/_build/index.html"

clean: ## Remove what was built, not the runs
	rm -rf $(VENV) .venv-prove .venv-ape .venv-pfl contracts/node_modules contracts/out contracts/cache .mypy_cache .ruff_cache .pytest_cache build

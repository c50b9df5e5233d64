# `make` lists what there is. Everything that is made lies under target/.
.DEFAULT_GOAL := help
SHELL := /bin/bash

PYTHON ?= python3
PORT ?= 4566
ARCH ?= arm64
export SAM_CLI_TELEMETRY := 0
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYTHONPYCACHEPREFIX := $(CURDIR)/target/pycache

# A virtual environment is named by the checksum of its requirements: made once, and again when they change.
checksum = $(firstword $(shell cksum $(1)))
EMULATOR := target/venv/emulator-$(call checksum,infra/local/requirements.txt)
TOOLS := target/venv/tools-$(call checksum,infra/local/requirements-tools.txt)
SCANNER := target/venv/scanner-$(call checksum,infra/local/requirements-checkov.txt)
PACKAGER := target/venv/packager-$(call checksum,infra/local/requirements-build.txt)
MESH := target/venv/mesh-$(call checksum,tests/mesh/requirements.txt)
WIRE := target/venv/wire-$(call checksum,tests/wire/requirements.txt)
TWIN := target/venv/twin-$(call checksum,tests/bench/requirements.txt)

# Built once for a version, without optimising: that takes longer than the tool ever runs.
CARGO_TOOLS := target/tools
DENY := 0.20.2
CYCLONEDX := 0.5.9

.PHONY: help
help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile
	@echo "  With PORT=$(PORT) (demo), ARCH=$(ARCH)|x86_64 (build, deploy), PYTHON=$(PYTHON) (3.11 or later)"

.PHONY: demo
demo: $(EMULATOR)/ready ## The real system on this machine, and its story; up until Ctrl-C (DEMO_EXIT=1: ends by itself)
	@exec $(EMULATOR)/bin/python infra/local/demo.py --port $(PORT)

.PHONY: test
test: $(EMULATOR)/ready $(TOOLS)/ready $(MESH)/ready $(WIRE)/ready ## Every test, with the journeys through the release binaries on the emulator
	@exec infra/local/test.sh $(EMULATOR) $(TOOLS) $(MESH) $(WIRE)

.PHONY: lint
lint: $(TOOLS)/ready $(SCANNER)/ready deny ## Formatting, clippy, dependencies, the template's linters, Python syntax
	cargo fmt --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	$(TOOLS)/bin/python infra/local/lint.py $(TOOLS) $(SCANNER)
	$(TOOLS)/bin/sam validate --lint --region eu-west-2 --template template.yaml
	$(TOOLS)/bin/python -W error -m compileall -q infra tests

.PHONY: deny
deny: $(CARGO_TOOLS)/cargo-deny-$(DENY)/ready ## Licences, sources and bans of all dependencies (ADVISORIES=1: known faults too; fetches them)
	$(<D)/bin/cargo-deny --locked check --hide-inclusion-graph licenses bans sources $(if $(ADVISORIES),advisories)

.PHONY: sbom
sbom: $(CARGO_TOOLS)/cargo-cyclonedx-$(CYCLONEDX)/ready ## What is in each function, as CycloneDX: target/sbom
	@exec infra/local/sbom.sh $(<D)/bin/cargo-cyclonedx $(ARCH)

.PHONY: fuzz
fuzz: ## Every parser that faces a caller, for SECONDS=60 each, from a new seed (`make test` runs a short one)
	FUZZ_SECONDS=$(or $(SECONDS),60) exec cargo test --locked --workspace --lib --bins -- --nocapture fuzz_

.PHONY: simulate
simulate: ## Delivery while everything fails, for SEEDS=20000 (`make test` runs 2000); SEED=123 tells one seed's story
	SIMULATE_SEEDS=$(or $(SEEDS),20000) SIMULATE_SEED=$(SEED) \
	  exec cargo test --locked --workspace --test simulation -- --nocapture every_seed

.PHONY: build
build: $(PACKAGER)/ready ## The functions for AWS: target/lambda/NAME/bootstrap
	@exec infra/local/build.sh $(PACKAGER) $(ARCH)

.PHONY: deploy
deploy: build $(TOOLS)/ready ## Build, then `sam deploy --guided` with your AWS profile
	exec $(TOOLS)/bin/sam deploy --guided --capabilities CAPABILITY_IAM --parameter-overrides Architecture=$(ARCH)

.PHONY: bench
bench: $(TWIN)/ready ## The figures of the README, as a table and in target/bench.json (fails where one is missed)
	cargo build --profile deployed --locked --workspace --exclude cpis-tests
	cargo build --release --locked --package cpis-tests --bin bench
	@CPIS_BINARIES=target/deployed exec target/release/bench $(TWIN)/bin/python

.PHONY: clean
clean: ## Stop what is still running and remove target/
	@for dir in target/local*; do [ ! -f $$dir/stack.json ] || $(EMULATOR)/bin/python infra/local/stack.py down --dir $$dir; done
	rm -rf target

.PHONY: check
check:
	@infra/local/check.sh $(PYTHON)

$(EMULATOR)/ready: | check
	@infra/local/venv.sh $(PYTHON) $(@D) infra/local/requirements.txt
$(TOOLS)/ready: | check
	@infra/local/venv.sh $(PYTHON) $(@D) infra/local/requirements-tools.txt
$(PACKAGER)/ready: | check
	@infra/local/venv.sh $(PYTHON) $(@D) infra/local/requirements-build.txt
$(MESH)/ready: | check
	@infra/local/venv.sh $(PYTHON) $(@D) tests/mesh/requirements.txt
$(WIRE)/ready: | check
	@infra/local/venv.sh $(PYTHON) $(@D) tests/wire/requirements.txt
$(TWIN)/ready: | check
	@infra/local/venv.sh $(PYTHON) $(@D) tests/bench/requirements.txt
$(SCANNER)/ready: | check
	@infra/local/venv.sh $(PYTHON) $(@D) infra/local/requirements-checkov.txt
$(CARGO_TOOLS)/cargo-%/ready: | check
	@infra/local/cargo-tool.sh $(@D)

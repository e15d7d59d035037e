# Inkan: build, test, install. `make help` lists the targets.
#
# BUILD is where everything goes; a second tree (another compiler, sanitizers) is another BUILD.

BUILD   ?= build
CC      ?= gcc
PREFIX  ?= /usr
DESTDIR ?=
SHELL   := /bin/bash

# V=1 shows the commands
V ?=
QUIET   := $(if $(V),,@)
say      = $(if $(V),,@echo '  $(1)')
.DEFAULT_GOAL := all

PACKAGES := openssl libevent libevent_pthreads libevent_openssl libpcre2-8 sqlite3 libedit jansson libcrypt libseccomp p11-kit-1 libcares libidn2

WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla -Werror
HARDEN   := -fstack-protector-strong -fstack-clash-protection -fPIE -D_FORTIFY_SOURCE=2
OPTIMISE ?= -O2 -g
SANITIZE ?=
CPPFLAGS += -I. -D_GNU_SOURCE -DOPENSSL_API_COMPAT=0x30000000L $(shell pkg-config --cflags $(PACKAGES) 2>/dev/null)
CFLAGS   += -std=c11 -pthread $(OPTIMISE) $(WARNINGS) $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-omit-frame-pointer -Wno-error,$(HARDEN))
LDFLAGS  += -pie -pthread -Wl,-z,relro,-z,now -Wl,--as-needed $(if $(SANITIZE),-fsanitize=$(SANITIZE))

LIB_EVENT   := -levent_core -levent_extra -levent_pthreads
LIB_DELIVERY := -levent_openssl -lssl -lcares -lidn2
LIB_API     := -ljansson -lhttp_parser -lcurl
LIB_CONSOLE := -ledit -ljansson -lcrypt

# ---- components: one static library a folder ----

COMPONENTS := appliance/base appliance/supervisor \
	appliance/relay/smtp appliance/relay/mime appliance/relay/policy appliance/relay/queue appliance/relay/delivery \
	appliance/relay/signing appliance/relay/tls appliance/relay/webhook appliance/relay/observe appliance/relay/api appliance/relay \
	hsm/protocol hsm/client hsm/token hsm/cms hsm/import hsm/sign hsm/provision \
	provisioning/store provisioning/console provisioning/manual

archive = $(BUILD)/lib/$(subst /,-,$(1)).a
sources_of = $(filter-out %/main.c,$(wildcard $(1)/*.c))
object = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))

define component_rules
$(call archive,$(1)): $(call object,$(call sources_of,$(1)))
	@mkdir -p $$(@D)
	@rm -f $$@
	$$(QUIET)$$(AR) rcs $$@ $$^
endef
$(foreach c,$(COMPONENTS),$(eval $(call component_rules,$(c))))

$(BUILD)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC $<)
	$(QUIET)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)

# ---- programs ----

libs = $(foreach c,$(1),$(call archive,$(c)))

INKAND_LIBS := appliance/supervisor provisioning/store hsm/protocol appliance/base
RELAY_LIBS  := appliance/relay appliance/relay/api appliance/relay/observe appliance/relay/smtp appliance/relay/tls appliance/relay/webhook appliance/relay/delivery appliance/relay/signing appliance/relay/policy \
	appliance/relay/mime appliance/relay/queue hsm/cms hsm/client hsm/protocol provisioning/store appliance/base
HSM_LIBS    := hsm/sign hsm/provision hsm/import hsm/cms hsm/token hsm/protocol appliance/base
CONSOLE_LIBS := provisioning/console provisioning/store hsm/client hsm/protocol appliance/base

PROGRAMS := $(addprefix $(BUILD)/bin/,inkand inkan-relay inkan-hsm inkan)
HSM_VIEW := $(BUILD)/bin/inkan-hsm-view.so

# man pages that are made from the console's tables
MADE_PAGES := $(addprefix $(BUILD)/man/,inkan.8 inkan.conf.5)

all: $(PROGRAMS) $(HSM_VIEW) $(MADE_PAGES) ## build the four programs (the default)

$(BUILD)/bin/inkand: $(call object,appliance/supervisor/main.c) $(call libs,$(INKAND_LIBS))
	@mkdir -p $(@D)
	$(call say,LD $@)
	$(QUIET)$(CC) $(LDFLAGS) -o $@ $< -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LIB_EVENT) -lsqlite3 -lcrypto -lpcre2-8 -lseccomp -lcrypt

RELAY_LINK := $(LIB_EVENT) $(LIB_DELIVERY) $(LIB_API) -lsqlite3 -lcrypto -lpcre2-8 -lseccomp -lcrypt

$(BUILD)/bin/inkan-relay: $(call object,appliance/relay/main.c) $(call libs,$(RELAY_LIBS))
	@mkdir -p $(@D)
	$(call say,LD $@)
	$(QUIET)$(CC) $(LDFLAGS) -o $@ $< -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(RELAY_LINK)

$(BUILD)/bin/inkan-hsm: $(call object,hsm/main.c) $(call libs,$(HSM_LIBS))
	@mkdir -p $(@D)
	$(call say,LD $@)
	$(QUIET)$(CC) $(LDFLAGS) -o $@ $< -Wl,--start-group $(filter %.a,$^) -Wl,--end-group -lcrypto -lseccomp -ldl $(LIB_EVENT)

$(BUILD)/bin/inkan: $(call object,provisioning/console/main.c) $(call libs,$(CONSOLE_LIBS))
	@mkdir -p $(@D)
	$(call say,LD $@)
	$(QUIET)$(CC) $(LDFLAGS) -o $@ $< -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LIB_CONSOLE) -lsqlite3 -lcrypto -lpcre2-8 $(LIB_EVENT)

MANUAL := $(BUILD)/bin/inkan-manual

$(MANUAL): $(call object,provisioning/manual/main.c) $(call libs,provisioning/manual $(CONSOLE_LIBS))
	@mkdir -p $(@D)
	$(call say,LD $@)
	$(QUIET)$(CC) $(LDFLAGS) -o $@ $< -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LIB_CONSOLE) -lsqlite3 -lcrypto -lpcre2-8 $(LIB_EVENT)

$(BUILD)/man/inkan.8: provisioning/console/inkan.8 $(MANUAL)
	@mkdir -p $(@D)
	$(QUIET)$(MANUAL) commands $< >$@.new && mv $@.new $@

$(BUILD)/man/inkan.conf.5: $(MANUAL)
	@mkdir -p $(@D)
	$(QUIET)$(MANUAL) settings >$@.new && mv $@.new $@

# What libp11 takes for the PKCS#11 module (hsm/token/engine_view.h); beside every program that uses the engine back end.
%/inkan-hsm-view.so: hsm/view/view.c hsm/view/view.h
	@mkdir -p $(@D)
	$(call say,LD $@)
	$(QUIET)$(CC) $(CPPFLAGS) $(filter-out -fPIE,$(CFLAGS)) -fPIC -fvisibility=hidden -shared -Wl,-z,relro,-z,now -o $@ $<

# ---- tests ----
# tests/unit/COMPONENT_SUBJECT_test.c links the archives that UNIT_LIBS_COMPONENT names.

UNIT_LIBS_base     := appliance/base
UNIT_LIBS_hsm      := hsm/client hsm/cms hsm/import hsm/protocol appliance/base
UNIT_LIBS_store    := provisioning/store appliance/base
UNIT_LIBS_console  := provisioning/console provisioning/store hsm/client hsm/protocol appliance/base
UNIT_LIBS_supervisor := appliance/supervisor provisioning/store hsm/protocol appliance/base
UNIT_LIBS_mime     := appliance/relay/mime hsm/cms hsm/protocol appliance/base
UNIT_LIBS_observe  := appliance/relay/observe appliance/base
UNIT_LIBS_queue    := appliance/relay/queue appliance/base
UNIT_LIBS_policy   := appliance/relay/policy appliance/relay/mime hsm/protocol provisioning/store appliance/base
UNIT_LIBS_smtp     := appliance/relay/smtp appliance/relay/tls appliance/relay/policy appliance/relay/mime hsm/client hsm/protocol provisioning/store appliance/base
UNIT_LIBS_delivery := appliance/relay/delivery appliance/relay/smtp appliance/relay/policy appliance/relay/mime appliance/relay/queue hsm/protocol provisioning/store appliance/base
UNIT_LIBS_api      := appliance/relay/api appliance/relay/signing hsm/cms appliance/relay/smtp appliance/relay/tls appliance/relay/policy appliance/relay/mime appliance/relay/queue hsm/client hsm/protocol provisioning/store appliance/base
UNIT_LIBS_webhook  := appliance/relay/webhook $(UNIT_LIBS_api)
UNIT_LIBS_tls      := appliance/relay/tls hsm/client hsm/protocol appliance/base
UNIT_LIBS_signing  := appliance/relay/signing hsm/cms appliance/relay/policy appliance/relay/mime appliance/relay/queue hsm/client hsm/protocol provisioning/store appliance/base

UNIT_SOURCES := $(wildcard tests/unit/*_test.c)
UNIT_TESTS   := $(patsubst tests/unit/%.c,$(BUILD)/tests/%,$(UNIT_SOURCES))
unit_component = $(firstword $(subst _, ,$(notdir $(1))))

# What several tests use, other than their own file: linked where it is called.
TEST_HELPER_SOURCES := $(filter-out %_test.c,$(wildcard tests/unit/*.c))
TEST_HELPERS := $(BUILD)/lib/tests-helpers.a
$(TEST_HELPERS): $(call object,$(TEST_HELPER_SOURCES))
	@mkdir -p $(@D)
	@rm -f $@
	$(QUIET)$(AR) rcs $@ $^

define unit_rule
$(patsubst tests/unit/%.c,$(BUILD)/tests/%,$(1)): $(call object,$(1)) $(TEST_HELPERS) $(call libs,$(UNIT_LIBS_$(call unit_component,$(1))))
	@mkdir -p $$(@D)
	$$(call say,LD $$@)
	$$(QUIET)$$(CC) $$(LDFLAGS) -o $$@ $$(filter %.o,$$^) -Wl,--start-group $$(filter %.a,$$^) -Wl,--end-group $$(LIB_EVENT) $$(LIB_API) $$(LIB_CONSOLE) $$(LIB_DELIVERY) -lsqlite3 -lcrypto -lpcre2-8 -lseccomp -ldl
endef
$(foreach t,$(UNIT_SOURCES),$(eval $(call unit_rule,$(t))))

unit-tests: $(UNIT_TESTS) ## build the unit tests

# tests/token/SUBJECT_test.c: on an isolated SoftHSM token, some with the inkan-hsm of the same BUILD.

TOKEN_LIBS    := hsm/sign hsm/provision hsm/import hsm/cms hsm/token hsm/client hsm/protocol appliance/base
TOKEN_SOURCES := $(wildcard tests/token/*_test.c)
TOKEN_TESTS   := $(patsubst tests/token/%.c,$(BUILD)/tests/token/%,$(TOKEN_SOURCES))

TOKEN_HELPERS := $(BUILD)/lib/tests-token-helpers.a
$(TOKEN_HELPERS): $(call object,$(filter-out %_test.c %_module.c,$(wildcard tests/token/*.c)))
	@mkdir -p $(@D)
	@rm -f $@
	$(QUIET)$(AR) rcs $@ $^

# PKCS#11 modules of our own that stand before a real one
TOKEN_MODULES := $(patsubst tests/token/%.c,$(BUILD)/tests/token/%.so,$(wildcard tests/token/*_module.c))
$(TOKEN_MODULES): $(BUILD)/tests/token/%.so: tests/token/%.c tests/token/faulty_switches.h
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(filter-out -fPIE,$(CFLAGS)) -fPIC -fvisibility=hidden -shared -o $@ $< -ldl

$(TOKEN_TESTS): $(BUILD)/tests/token/%: $(BUILD)/obj/tests/token/%.o $(TOKEN_HELPERS) $(TEST_HELPERS) $(call libs,$(TOKEN_LIBS)) | $(BUILD)/bin/inkan-hsm $(HSM_VIEW) $(BUILD)/tests/token/inkan-hsm-view.so $(TOKEN_MODULES)
	@mkdir -p $(@D)
	$(call say,LD $@)
	$(QUIET)$(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LIB_EVENT) -lcrypto -lseccomp -ldl

token-tests: $(TOKEN_TESTS) ## build the token tests

# tests/matrix/TOKEN_matrix_test.c: what each token that Debian has can do, against the table in README.md. opencryptoki wants
# root and mount namespaces, which not everybody who runs `make check` has.

MATRIX_SOURCES := $(wildcard tests/matrix/*_test.c)
MATRIX_TESTS   := $(patsubst tests/matrix/%.c,$(BUILD)/tests/matrix/%,$(MATRIX_SOURCES))
MATRIX_HELPERS := $(call object,$(filter-out %_test.c,$(wildcard tests/matrix/*.c)))
MATRIX_TESTS_ANYBODY := $(filter-out %/opencryptoki_matrix_test,$(MATRIX_TESTS))

$(MATRIX_TESTS): $(BUILD)/tests/matrix/%: $(BUILD)/obj/tests/matrix/%.o $(MATRIX_HELPERS) $(TOKEN_HELPERS) $(TEST_HELPERS) $(call libs,$(TOKEN_LIBS)) | $(BUILD)/bin/inkan-hsm $(TOKEN_MODULES)
	@mkdir -p $(@D)
	$(call say,LD $@)
	$(QUIET)$(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LIB_EVENT) -lcrypto -lseccomp -ldl

matrix-tests: $(MATRIX_TESTS)

check-tokens: ## compare what each token can do with the table in README.md (root installs what is missing)
	@image/install-packages build run test tokens
	@$(MAKE) --no-print-directory -j"$$(nproc)" matrix-tests
	@BUILD=$(BUILD) INKAN_BIN=$(abspath $(BUILD))/bin tests/run $(MATRIX_TESTS)

include tests/crash/crash.mk tests/bench/bench.mk

SCENARIOS := $(wildcard tests/scenario/*_test.py)

check: ## run every test (as root it installs the packages that are missing)
	@image/install-packages build run test tokens lint
	@image/unpack-packages mta $(BUILD)/mta
	@$(MAKE) --no-print-directory -j"$$(nproc)" all unit-tests token-tests matrix-tests replays
	@$(MAKE) --no-print-directory check-installed

check-installed: all unit-tests token-tests matrix-tests replays
	@BUILD=$(BUILD) INKAN_BIN=$(abspath $(BUILD))/bin tests/run $(UNIT_TESTS) $(REPLAYS) $(TOKEN_TESTS) $(MATRIX_TESTS_ANYBODY) $(CRASH_TESTS) $(SCENARIOS) tests/lint

check-unit: unit-tests ## run the unit tests alone
	@tests/run $(UNIT_TESTS)

demo: ## show the main job end to end on SoftHSM
	@image/install-packages build run test
	@mkdir -p $(BUILD)
	@$(MAKE) --no-print-directory -j"$$(nproc)" all >$(BUILD)/demo.log 2>&1 || { cat $(BUILD)/demo.log; exit 1; }
	@tests/demo

# The whole product under AddressSanitizer and UndefinedBehaviorSanitizer: unit tests, fuzzers' inputs, token tests, and the scenarios
# through real processes, but for those that measure time or meddle with a process in a way that a sanitizer's runtime forbids.
# Then the suites that have threads under ThreadSanitizer. Leaks are looked for in unit tests alone: a child leaves by _exit.

SANITIZE_SCENARIOS := $(filter-out %/hsm_speed_test.py %/hsm_faults_test.py %/faults_test.py %/sandbox_test.py %/peers_test.py,$(SCENARIOS))
THREADED_UNITS  := $(filter $(BUILD)/tests/queue_% $(BUILD)/tests/api_% $(BUILD)/tests/delivery_% $(BUILD)/tests/signing_% $(BUILD)/tests/smtp_% $(BUILD)/tests/tls_%,$(UNIT_TESTS))
THREADED_TOKENS := $(filter %/sign_role_test %/token_test %/nss_test,$(TOKEN_TESTS))

sanitize: ## everything but time measurements under AddressSanitizer and UBSan, what has threads under ThreadSanitizer
	@image/install-packages build run test lint
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/sanitize CC=clang SANITIZE=address,undefined OPTIMISE='-O1 -g' sanitize-installed
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/sanitize-thread CC=clang SANITIZE=thread OPTIMISE='-O1 -g' sanitize-threads

sanitize-installed: all unit-tests token-tests replays
	@tests/run $(UNIT_TESTS) $(REPLAYS)
	@ASAN_OPTIONS=detect_leaks=0 BUILD=$(BUILD) INKAN_BIN=$(abspath $(BUILD))/bin tests/run $(TOKEN_TESTS) $(SANITIZE_SCENARIOS)

# Its shadow has a fixed place, which the kernel's address space randomisation may take.
sanitize-threads: all unit-tests token-tests
	@setarch -R tests/run $(THREADED_UNITS) $(THREADED_TOKENS)

# tests/fuzz/COMPONENT_SUBJECT_fuzz.c, libFuzzer; what a run finds is kept in $(BUILD)/fuzz/corpus. Every fuzzer is also linked
# with tests/fuzz/replay.c, and `make check` runs it on the inputs of tests/fuzz/corpus.

FUZZ_SECONDS ?= 60
FUZZ_SOURCES := $(wildcard tests/fuzz/*_fuzz.c)
FUZZERS      := $(patsubst tests/fuzz/%.c,$(BUILD)/fuzzers/%,$(FUZZ_SOURCES))
REPLAYS      := $(patsubst tests/fuzz/%_fuzz.c,$(BUILD)/tests/fuzz/%_replay,$(FUZZ_SOURCES))
FUZZ_LINK    := $(LIB_EVENT) $(LIB_DELIVERY) $(LIB_API) $(LIB_CONSOLE) -lsqlite3 -lcrypto -lpcre2-8

define fuzz_rule
$(patsubst tests/fuzz/%.c,$(BUILD)/fuzzers/%,$(1)): $(call object,$(1)) $(call libs,$(UNIT_LIBS_$(call unit_component,$(1))))
	@mkdir -p $$(@D)
	$$(call say,LD $$@)
	$$(QUIET)$$(CC) $$(LDFLAGS) -fsanitize=fuzzer -o $$@ $$< -Wl,--start-group $$(filter %.a,$$^) -Wl,--end-group $$(FUZZ_LINK)

$(patsubst tests/fuzz/%_fuzz.c,$(BUILD)/tests/fuzz/%_replay,$(1)): $(call object,$(1)) $(call object,tests/fuzz/replay.c) $(call libs,$(UNIT_LIBS_$(call unit_component,$(1))))
	@mkdir -p $$(@D)
	$$(call say,LD $$@)
	$$(QUIET)$$(CC) $$(LDFLAGS) -o $$@ $$(filter %.o,$$^) -Wl,--start-group $$(filter %.a,$$^) -Wl,--end-group $$(FUZZ_LINK)
endef
$(foreach t,$(FUZZ_SOURCES),$(eval $(call fuzz_rule,$(t))))

replays: $(REPLAYS)

fuzz: ## run each fuzzer for FUZZ_SECONDS (60) with clang's sanitizers
	@image/install-packages build lint
	@$(MAKE) --no-print-directory -j"$$(nproc)" BUILD=$(BUILD)/fuzz CC=clang SANITIZE=fuzzer-no-link,address,undefined OPTIMISE='-O1 -g -DPKCS12_MAX_ITERATIONS=1000' fuzzers
	@FUZZ_SECONDS=$(FUZZ_SECONDS) tests/fuzz/run $(BUILD)/fuzz

fuzzers: $(FUZZERS)

lint: ## clang without warnings, clang-format, cppcheck, man pages
	@image/install-packages build run lint
	@tests/lint

install: all ## install below DESTDIR PREFIX
	install -d $(DESTDIR)$(PREFIX)/lib/inkan $(DESTDIR)$(PREFIX)/sbin $(DESTDIR)$(PREFIX)/share/man/man5 $(DESTDIR)$(PREFIX)/share/man/man7 $(DESTDIR)$(PREFIX)/share/man/man8
	install -m 755 $(PROGRAMS) $(DESTDIR)$(PREFIX)/lib/inkan
	install -m 644 $(HSM_VIEW) $(DESTDIR)$(PREFIX)/lib/inkan
	ln -sf ../lib/inkan/inkand ../lib/inkan/inkan $(DESTDIR)$(PREFIX)/sbin/
	install -m 644 $(wildcard appliance/*/*.7) $(DESTDIR)$(PREFIX)/share/man/man7
	install -m 644 $(wildcard appliance/*/*.8 hsm/*.8) $(filter %.8,$(MADE_PAGES)) $(DESTDIR)$(PREFIX)/share/man/man8
	install -m 644 $(filter %.5,$(MADE_PAGES)) $(DESTDIR)$(PREFIX)/share/man/man5

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

clean: ## remove what was built
	rm -rf $(BUILD)

.PHONY: all unit-tests token-tests matrix-tests check-tokens check check-installed check-unit demo sanitize sanitize-installed sanitize-threads fuzz fuzzers replays lint install help clean

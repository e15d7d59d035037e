# Measuring programs, not tests: built and run by hand.

BENCHES := $(patsubst tests/bench/%.c,$(BUILD)/bench/%,$(wildcard tests/bench/queue_*.c))

$(BENCHES): $(BUILD)/bench/%: $(BUILD)/obj/tests/bench/%.o $(call libs,$(UNIT_LIBS_queue))
	@mkdir -p $(@D)
	$(QUIET)$(CC) $(LDFLAGS) -o $@ $^ $(LIB_EVENT) -lsqlite3 -lcrypto

bench: ## Inkan beside Postfix and OpenDKIM, judged by its goals (as root, about 10 minutes)
	@image/install-packages build run test bench
	@$(MAKE) --no-print-directory -j"$$(nproc)" all
	@INKAN_BIN=$(abspath $(BUILD))/bin tests/bench/relay

.PHONY: bench

# The HSM layer, in the directory that a token test would be in: it starts the inkan-hsm of the same BUILD.
HSM_BENCH := $(BUILD)/tests/token/hsm_bench
$(BUILD)/tests/token/canned_module.so: tests/bench/canned_module.c
	@mkdir -p $(@D)
	$(QUIET)$(CC) $(CPPFLAGS) $(filter-out -fPIE,$(CFLAGS)) -fPIC -fvisibility=hidden -shared -o $@ $< -ldl

$(HSM_BENCH): $(BUILD)/obj/tests/bench/hsm_bench.o $(TOKEN_HELPERS) $(TEST_HELPERS) $(call libs,$(TOKEN_LIBS)) | \
	$(BUILD)/bin/inkan-hsm $(HSM_VIEW) $(BUILD)/tests/token/inkan-hsm-view.so $(BUILD)/tests/token/canned_module.so
	@mkdir -p $(@D)
	$(QUIET)$(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LIB_EVENT) -lcrypto -lseccomp -ldl

bench-api: ## messages a second by the API beside SMTP, and its lists over a million events (as root, 2 minutes)
	@image/install-packages build run test bench
	@$(MAKE) --no-print-directory -j"$$(nproc)" all
	@INKAN_BIN=$(abspath $(BUILD))/bin tests/bench/api
	@INKAN_BIN=$(abspath $(BUILD))/bin tests/bench/events

.PHONY: bench-api

bench-hsm: $(HSM_BENCH) ## what the HSM layer costs, on SoftHSM and on a distant HSM (2 minutes)
	@INKAN_CANNED_PATH=$(abspath $(BUILD))/tests/token/canned_module.so $(abspath $(HSM_BENCH))

.PHONY: bench-hsm

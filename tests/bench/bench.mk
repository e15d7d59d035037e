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

# Measuring programs, not tests: built and run by hand.

BENCHES := $(patsubst tests/bench/%.c,$(BUILD)/bench/%,$(wildcard tests/bench/queue_*.c))

$(BENCHES): $(BUILD)/bench/%: $(BUILD)/obj/tests/bench/%.o $(call libs,$(UNIT_LIBS_queue))
	@mkdir -p $(@D)
	$(QUIET)$(CC) $(LDFLAGS) -o $@ $^ $(LIB_EVENT) -lsqlite3 -lcrypto

# The crash tests of the message store: a worker with fault points compiled in, a preloaded disk that fails, and what drives them.

CRASH_FAULTY := $(patsubst %.c,$(BUILD)/crash/obj/%.o,$(call sources_of,appliance/relay/queue) tests/crash/queue_worker.c)
CRASH_PARTS  := $(BUILD)/crash/queue_worker $(BUILD)/crash/faulty_disk.so
CRASH_TESTS  := tests/crash/queue_crash_test.py

$(BUILD)/crash/obj/%.o: %.c
	@mkdir -p $(@D)
	$(QUIET)$(CC) $(CPPFLAGS) -DINKAN_FAULT_POINTS $(CFLAGS) -MMD -MP -c $< -o $@

$(BUILD)/crash/queue_worker: $(CRASH_FAULTY) $(call archive,appliance/base)
	@mkdir -p $(@D)
	$(QUIET)$(CC) $(LDFLAGS) -o $@ $^ $(LIB_EVENT) -lsqlite3 -lcrypto

$(BUILD)/crash/faulty_disk.so: tests/crash/faulty_disk.c
	@mkdir -p $(@D)
	$(QUIET)$(CC) $(CPPFLAGS) $(filter-out -fPIE,$(CFLAGS)) -fPIC -shared -o $@ $< -ldl

-include $(CRASH_FAULTY:.o=.d)

check-installed: $(CRASH_PARTS)

power-cuts: $(CRASH_PARTS) ## cut the power under the message store (as root, with loop devices)
	@BUILD=$(BUILD) tests/crash/queue_power_test.py

.PHONY: power-cuts

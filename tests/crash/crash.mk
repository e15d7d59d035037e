# The crash tests of the message store: a worker with fault points compiled in, a preloaded disk that fails, and what drives them.

CRASH_FAULTY := $(patsubst %.c,$(BUILD)/crash/obj/%.o,$(call sources_of,appliance/relay/queue) tests/crash/queue_worker.c)
CRASH_PARTS  := $(BUILD)/crash/inkan-relay $(BUILD)/crash/queue_worker $(BUILD)/crash/faulty_disk.so
CRASH_TESTS  := tests/crash/queue_crash_test.py tests/crash/relay_crash_test.py

$(BUILD)/crash/obj/%.o: %.c
	@mkdir -p $(@D)
	$(QUIET)$(CC) $(CPPFLAGS) -DINKAN_FAULT_POINTS $(CFLAGS) -MMD -MP -c $< -o $@

$(BUILD)/crash/queue_worker: $(CRASH_FAULTY) $(call archive,appliance/base)
	@mkdir -p $(@D)
	$(QUIET)$(CC) $(LDFLAGS) -o $@ $^ $(LIB_EVENT) -lsqlite3 -lcrypto

$(BUILD)/crash/faulty_disk.so: tests/crash/faulty_disk.c
	@mkdir -p $(@D)
	$(QUIET)$(CC) $(CPPFLAGS) $(filter-out -fPIE,$(CFLAGS)) -fPIC -shared -o $@ $< -ldl

# The whole relay with its fault points. The parts that have none are those of every build.
CRASH_RELAY_FOLDERS := appliance/relay/queue appliance/relay/signing appliance/relay/delivery
CRASH_RELAY := $(patsubst %.c,$(BUILD)/crash/obj/%.o,$(foreach f,$(CRASH_RELAY_FOLDERS),$(call sources_of,$f)) appliance/relay/main.c)

$(BUILD)/crash/inkan-relay: $(CRASH_RELAY) $(call libs,$(filter-out $(CRASH_RELAY_FOLDERS),$(RELAY_LIBS)))
	@mkdir -p $(@D)
	$(QUIET)$(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(RELAY_LINK)

-include $(CRASH_RELAY:.o=.d) $(CRASH_FAULTY:.o=.d)

check-installed: $(CRASH_PARTS)

power-cuts: $(CRASH_PARTS) ## cut the power under the message store (as root, with loop devices)
	@BUILD=$(BUILD) tests/crash/queue_power_test.py

.PHONY: power-cuts

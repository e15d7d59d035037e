#!/usr/bin/python3
"""Tells a machine that stands still from a program that does: a process on each processor that only sleeps and appends a line
to a log on the disk of the tests, as the relay does at its most idle. What holds it up for a while (a hypervisor that takes the
processor away, a disk that lets nobody write) holds up everybody.
"""
import os
import subprocess
import sys
import tempfile

TICK_S = 0.002
NOTICED_MS = 4


def waited_ns():
    with open("/proc/self/schedstat") as stat:
        return int(stat.read().split()[1])


def watch(processor, path):
    """One line on stdout for each hold-up, as base/lag.h reckons it: began and ended (seconds of the epoch), milliseconds."""
    import time
    os.sched_setaffinity(0, {processor})
    with open(path, "ab", buffering=0) as log:
        while os.getppid() != 1:
            began, waited = time.time(), waited_ns()
            time.sleep(TICK_S)
            log.write(b".\n")
            ended = time.time()
            ms = (ended - began - TICK_S) * 1e3 - (waited_ns() - waited) / 1e6
            if ms >= NOTICED_MS:
                print(began, ended, ms, flush=True)


class Witness:
    def __init__(self):
        self.scratch = tempfile.NamedTemporaryFile(prefix="inkan-witness-")
        self.output = tempfile.NamedTemporaryFile(prefix="inkan-witness-")
        self.processes = [subprocess.Popen([sys.executable, __file__, str(cpu), self.scratch.name], stdout=self.output)
                          for cpu in os.sched_getaffinity(0)]

    def end(self):
        for process in self.processes:
            process.terminate()
            process.wait()
        with open(self.output.name, encoding="ascii") as lines:
            stalls = [tuple(map(float, line.split())) for line in lines]
        self.output.close()
        self.scratch.close()
        return stalls


def excused_ms(stalls, ended, ms):
    """How much of a hold-up of `ms` that was over at `ended` (seconds of the epoch) the machine made."""
    began, slack = ended - ms / 1e3, 0.02
    return max((stall[2] for stall in stalls if stall[0] <= ended + slack and stall[1] >= began - slack), default=0)


if __name__ == "__main__":
    watch(int(sys.argv[1]), sys.argv[2])

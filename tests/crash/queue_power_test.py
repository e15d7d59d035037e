#!/usr/bin/python3
"""Power cuts: the store works on a file system in an image; the image as the device saw it at a random moment is mounted elsewhere.

    queue_power_test.py [CUTS] [SEED]     default 10; as root, with loop devices (make power-cuts)

What reaches the image is what the file system has written to its device, so every write that no sync has forced is lost. The cuts
fall between system calls, and the device neither lies nor reorders; a control that lies about every sync must lose mail.
"""
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from store import FAULTY_DISK, Store, case, finish

CUTS = int(sys.argv[1]) if len(sys.argv) > 1 else 10
SEED = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 30)
IMAGE_BYTES = 512 << 20
chance = random.Random(SEED)
directory = pathlib.Path(tempfile.mkdtemp(prefix="inkan-power-"))


def run(*command):
    subprocess.run([str(word) for word in command], check=True, capture_output=True)


class Mounted:
    def __init__(self, image, name):
        self.path = directory / name
        self.path.mkdir(exist_ok=True)
        run("mount", "-o", "loop", image, self.path)

    def __enter__(self):
        return self.path

    def __exit__(self, *_):
        run("umount", self.path)


def new_image():
    image = directory / "image"
    with open(image, "wb") as file:
        file.truncate(IMAGE_BYTES)
    run("mkfs.ext4", "-q", "-F", image)
    return image


def cut(image, ledger, **environment):
    """Lets the store work, cuts, and leaves the image as it was at the cut; the ledger too."""
    with Mounted(image, "running") as path:
        worker = Store(path / "mail", ledger).start(chance.randrange(1 << 30), **environment)
        time.sleep(chance.uniform(0.4, 2.5))
        worker.send_signal(signal.SIGSTOP)
        time.sleep(0.05)
        told = ledger.read_bytes()
        shutil.copyfile(image, directory / "cut")
        worker.kill()
        worker.wait()
        worker.stderr.close()
    os.replace(directory / "cut", image)
    ledger.write_bytes(told)


def check(image, ledger):
    with Mounted(image, "after") as path:
        return Store(path / "mail", ledger).check()


def loses_nothing():
    image, ledger = new_image(), directory / "ledger"
    stored = done = 0
    for _ in range(CUTS):
        cut(image, ledger)
        stored, done = check(image, ledger)
    print(f"   {CUTS} cuts: {stored} recipients acknowledged, {done} delivered, none missing")
    assert stored > CUTS * 10 and done > CUTS


def control_loses():
    image, ledger = new_image(), directory / "control"
    with Mounted(image, "running") as path:  # the directories of the spool are there before the lies begin
        Store(path / "mail", ledger).present()
    cut(image, ledger, LD_PRELOAD=str(FAULTY_DISK), FAULTY_DISK="fdatasync mail/ 0 1 999999")
    assert ledger.read_text().count("S ") > 0
    try:
        check(image, ledger)
    except AssertionError as loss:
        print(f"   the control: {str(loss)[:100]}")
        return
    raise AssertionError("nothing was lost without syncs: this test cannot see a loss")


print(f"seed {SEED}")
try:
    case("power cuts lose nothing", loses_nothing)
    case("a control without syncs loses mail", control_loses)
finally:
    shutil.rmtree(directory, ignore_errors=True)
finish()

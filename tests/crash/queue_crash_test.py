#!/usr/bin/python3
"""kill -9 and failing disks against the message store: what was answered with 250 is there afterwards, whole, or was delivered.

    queue_crash_test.py [KILLS] [SEED]     default 50 kills
"""
import os
import random
import signal
import sys
import tempfile
import time

from store import FAULTY_DISK, STORE_FAILED, Store, case, finish

KILLS = int(sys.argv[1]) if len(sys.argv) > 1 else 50
SEED = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 30)
EIO, ENOSPC, EOPNOTSUPP = 5, 28, 95
chance = random.Random(SEED)
directory = tempfile.TemporaryDirectory(prefix="inkan-crash-")


def new_store():
    return Store(tempfile.mkdtemp(dir=directory.name))


def killed_at_random(store, kills, **environment):
    for _ in range(kills):
        worker = store.start(chance.randrange(1 << 30), **environment)
        time.sleep(chance.uniform(0.02, 0.5))
        worker.kill()
        worker.wait()
        worker.stderr.close()
        if chance.random() < 0.5:  # else the next run finds what the kill left, without a clean close between
            store.check()
    return store.check()


def kill_loop():
    stored, done = killed_at_random(new_store(), KILLS)
    print(f"   {KILLS} kills: {stored} recipients acknowledged, {done} delivered, none missing, none torn")
    assert stored > KILLS and done > 0, "too little happened to mean anything"


def kill_loop_with_named_temporaries():
    stored, _ = killed_at_random(new_store(), 5, INKAN_FAULT=f"spool.tmpfile=errno:{EOPNOTSUPP}")
    assert stored > 0


POINTS = ["commit.before-row", "commit.before-commit", "commit.commit", "commit.after-commit", "report.before-notice", "body.write",
          "body.link", "body.sync", "body.sync-directory", "spool.remove"]


def killed_at(point):
    def check():
        store = new_store()
        for passage in (1, 2, 7, 30):
            worker = store.start(chance.randrange(1 << 30), INKAN_FAULT=f"{point}=kill:{passage}")
            worker.wait(timeout=60)
            worker.stderr.close()
            assert worker.returncode == -signal.SIGKILL, f"passage {passage}: ended with {worker.returncode}"
            store.check()
    return check


def killed_in_the_sweep():
    store = new_store()
    killed_at_random(store, 3)
    worker = store.start(1, INKAN_FAULT="start.sweep=kill:100")
    worker.wait(timeout=60)
    worker.stderr.close()
    assert worker.returncode == -signal.SIGKILL
    store.check()


def run_on_faulty_disk(store, plan, seconds):
    """-> exit status (None: it was still running and was stopped), standard error, ledger lines that are not of deliveries"""
    worker = store.start(chance.randrange(1 << 30), LD_PRELOAD=str(FAULTY_DISK), FAULTY_DISK=plan)
    deadline = time.monotonic() + seconds
    while worker.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    status = worker.poll()
    if status is None:
        worker.kill()
    said = worker.communicate()[1]
    return status, said, store.told()[3]


# plan, the store fails, a refusal says
DISKS = {
    "a sync of the log": (f"fdatasync queue.db-wal {EIO} 10 10", True, ""),
    "all syncs of the log from then on": (f"fdatasync queue.db-wal {EIO} 10 99999", True, ""),
    "a write to the log": (f"pwrite queue.db-wal {EIO} 60 60", True, ""),
    "a sync of the database": (f"fdatasync queue.db {EIO} 30 99999", True, ""),
    "one sync of a body": (f"fdatasync spool/ {EIO} 3 3", False, "Input/output error"),
    "every sync of a body": (f"fdatasync spool/ {EIO} 3 99999", True, "Input/output error"),
    "a sync of a spool directory": (f"fsync spool/ {EIO} 3 3", True, "Input/output error"),
    "one write to a body": (f"pwrite spool/ {EIO} 3 3", False, "body"),
    "every write to a body": (f"pwrite spool/ {EIO} 3 99999", True, "body"),
    "no room for bodies": (f"pwrite spool/ {ENOSPC} 3 99999", False, "body"),
    "no room for the sync of bodies": (f"fdatasync spool/ {ENOSPC} 3 99999", False, "No space left"),
    "no room for the log": (f"pwrite queue.db-wal {ENOSPC} 60 90", False, "full"),
}


def faulty(plan, fails, refusal):
    def check():
        store = new_store()
        status, said, lines = run_on_faulty_disk(store, plan, 10 if fails else 2)
        assert "SYNCED AGAIN" not in said, said[:300]
        assert status == (STORE_FAILED if fails else None), f"exit status {status}: {said[:300]} {lines[-3:]}"
        if refusal:
            assert any(line.startswith("F") and refusal in line for line in lines), lines[-5:]
        store.check()
    return check


def sees_a_loss():
    """The check itself: a lost recipient, one that came back, and an orphan must each be found."""
    store = new_store()
    killed_at_random(store, 2)
    present = store.present()
    assert present
    honest = store.ledger.read_text()
    number, recipient = min(present)
    orphan = store.directory / "spool" / "00" / "0000000000000001"
    for name, prepare in {
            "a lost recipient": lambda: store.ledger.write_text(honest + "S 1 1\n"),
            "one that came back": lambda: store.ledger.write_text(honest + f"D {number} {recipient}\n"),
            "damage": lambda: store.ledger.write_text(honest + "X 1 torn\n")}.items():
        prepare()
        try:
            store.check()
        except AssertionError:
            continue
        raise AssertionError(f"{name} was not seen")
    store.ledger.write_text(honest)
    store.check()
    orphan.write_bytes(b"x")
    try:
        store.check_database()
    except AssertionError:
        return
    raise AssertionError("an orphan was not seen")


print(f"seed {SEED}")
os.umask(0o077)
case("the check sees a loss", sees_a_loss)
case("kill -9 at random", kill_loop)
case("kill -9 at random, named temporary files", kill_loop_with_named_temporaries)
case("kill -9 in the sweep", killed_in_the_sweep)
for name in POINTS:
    case(f"kill -9 at {name}", killed_at(name))
for name, (a_plan, store_fails, says) in DISKS.items():
    case(f"failing: {name}", faulty(a_plan, store_fails, says))
finish()

"""What the crash tests share: the worker, its ledger, and the comparison of what was promised with what is there."""
import collections
import contextlib
import os
import pathlib
import sqlite3
import subprocess
import traceback

BUILD = pathlib.Path(os.environ.get("BUILD", "build")).resolve()
WORKER = BUILD / "crash" / "queue_worker"
FAULTY_DISK = BUILD / "crash" / "faulty_disk.so"
STORE_FAILED = 3  # exit status of a worker whose store has failed

results = collections.Counter()


def case(name, check):
    """Runs one named case: it fails by raising."""
    try:
        check()
    except Exception:
        traceback.print_exc()
        print(f"FAIL {name}", flush=True)
        results["failed"] += 1
        return
    print(f"ok {name}", flush=True)
    results["passed"] += 1


def finish():
    print(f"{results['passed']} passed, {results['failed']} failed")
    raise SystemExit(results["failed"] > 0 or results["passed"] == 0)


class Store:
    """A queue's directory, and the ledger of what clients and next hops were told about it."""

    def __init__(self, directory, ledger=None):
        self.directory = pathlib.Path(directory)
        self.ledger = pathlib.Path(ledger or f"{directory}.ledger")

    def start(self, seed, sessions=16, **environment):
        return subprocess.Popen([WORKER, "run", self.directory, self.ledger, str(sessions), str(seed)],
                                env={**os.environ, **environment}, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def told(self):
        """-> stored recipients, those whose delivery was begun, those whose delivery is durable, and the other lines."""
        stored, begun, done, other = set(), set(), set(), []
        for line in self.ledger.read_text().splitlines() if self.ledger.exists() else []:
            kind, *words = line.split(" ", 2)
            if kind == "S":
                stored |= {(int(words[0]), k) for k in range(int(words[1]))}
            elif kind == "A":
                begun.add((int(words[0]), int(words[1])))
            elif kind == "D":
                done.add((int(words[0]), int(words[1])))
            else:
                other.append(line)
        return stored, begun, done, other

    def present(self):
        """The recipients in the queue after a recovery, each body read and compared."""
        said = subprocess.run([WORKER, "check", self.directory], capture_output=True, text=True, timeout=120, check=False)
        lines = said.stdout.splitlines()
        assert lines and lines[-1] == "end", f"the check ended with {said.returncode}: {lines[-3:]} {said.stderr}"
        damage = [line for line in lines if line.startswith("X")]
        assert not damage, damage
        return {tuple(map(int, line.split()[1:])) for line in lines if line.startswith("P ")}

    def check_database(self):
        files = {path.name for path in self.directory.glob("spool/*/*")}
        with contextlib.closing(sqlite3.connect(self.directory / "queue.db")) as db:
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert db.execute("PRAGMA foreign_key_check").fetchall() == []
            rows = {f"{number:016x}" for number, in db.execute("SELECT number FROM file")}
            parts = {number for pair in db.execute("SELECT original, encoded FROM message") for number in pair if number is not None}
            bodies = {number for number, in db.execute("SELECT number FROM body UNION SELECT number FROM file")}
            alone = db.execute("SELECT count(*) FROM message WHERE id NOT IN (SELECT message FROM recipient)").fetchone()[0]
        assert rows == files, f"files without rows {files - rows}, rows without files {rows - files}"
        assert parts == bodies, f"bodies that nothing names {bodies - parts}, names without bodies {parts - bodies}"
        assert alone == 0, f"{alone} messages without recipients"

    def check(self):
        """None missing, none torn, none back from the dead. -> number of recipients promised so far."""
        present = self.present()
        stored, begun, done, other = self.told()
        damage = [line for line in other if line.startswith("X")]
        assert not damage, damage
        missing = stored - present - begun
        assert not missing, f"{len(missing)} acknowledged recipients are gone: {sorted(missing)[:5]}"
        assert not present & done, f"delivered, durably, and back: {sorted(present & done)[:5]}"
        self.check_database()
        return len(stored), len(done)

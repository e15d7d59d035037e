#!/usr/bin/python3
"""kill -9 of the whole relay: at each named step and at random under load. Every message that was answered with 250 is delivered, whole
and signed; a message may come twice only when the kill fell between the next hop's 250 and the durable result of it, or the client sent
it again because it got no answer: both are counted and stated.

    relay_crash_test.py [KILLS] [SEED]     default 6 random kills
"""
import collections
import os
import pathlib
import random
import re
import shutil
import signal
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = pathlib.Path(os.environ.get("BUILD", ROOT / "build")).resolve()
KILLS = int(sys.argv[1]) if len(sys.argv) > 1 else 6
SEED = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 30)
chance = random.Random(SEED)

# A folder of programs, whose relay reads its fault from a file beside it, since inkand hands no environment on.
programs = pathlib.Path(tempfile.mkdtemp(prefix="inkan-crash-programs-"))
programs.chmod(0o755)
fault = programs / "fault"
for program in (BUILD / "bin").iterdir():
    shutil.copy2(program, programs / program.name)
shutil.copy2(BUILD / "crash" / "inkan-relay", programs / "inkan-relay")
os.environ["INKAN_BIN"] = str(programs)
sys.path.insert(0, str(ROOT / "tests" / "scenario"))

from inkan import Sandbox, Sink, Smtp, is_signed, now, wait_until  # noqa: E402

from store import case, finish  # noqa: E402

SENDER = "crash@example.com"
SESSIONS = 8
sink = Sink()
box = None


def new_box():
    """inkand waits longer before each restart of a relay that keeps dying: after some kills a new one goes on faster."""
    global box
    if box:
        box.down()
    box = Sandbox("--next-hop", f"127.0.0.1:{sink.port}", "--sender", f"{SENDER}:p256")
    box.configure("set server default queue retry 1s")


class Load:
    """Clients that send as a mail server does: a message without an answer, or with a 4xx, is sent again until it is taken."""

    def __init__(self, tag):
        self.tag, self.lock, self.stopped = tag, threading.Lock(), threading.Event()
        self.accepted, self.sent = set(), collections.Counter()
        self.threads = [threading.Thread(target=self.run, args=(n,), daemon=True) for n in range(SESSIONS)]
        for thread in self.threads:
            thread.start()

    def message(self, ident, number):
        size = (100, 3000, 60000)[number % 3]  # a row, a row, a file
        filling = b"".join(b"%08d of a body that is long enough to count\r\n" % i for i in range(size // 45))
        text = "Übergröße".encode() if number % 4 == 0 else b"plain"  # every fourth is re-encoded
        return (f"From: {SENDER}\r\nTo: to@example.net\r\nDate: {now()}\r\nSubject: {ident}\r\nMIME-Version: 1.0\r\n"
                f"Content-Type: text/plain; charset=utf-8\r\n\r\n").encode() + text + b"\r\n" + filling + b"END OF BODY\r\n"

    def run(self, n):
        number = 0
        while not self.stopped.is_set():
            ident = f"{self.tag}-{n}-{number}"
            message = self.message(ident, number)
            while not self.try_once(ident, message):
                time.sleep(0.05)
            number += 1

    def try_once(self, ident, message):
        try:
            with Smtp(box.port, timeout=15) as client:
                with self.lock:
                    self.sent[ident] += 1
                code, _ = client.mail(SENDER, ["to@example.net"], message)
        except (OSError, ConnectionError):
            return False
        if code == 250:
            with self.lock:
                self.accepted.add(ident)
        return code == 250

    def stop(self):
        self.stopped.set()
        for thread in self.threads:
            thread.join(30)
            assert not thread.is_alive(), "a client never got its message taken"


def relay():
    pids = box.processes("inkan-relay")
    return pids[0] if pids else None


def ready():
    try:
        with Smtp(box.port, timeout=2):
            return True
    except (OSError, ConnectionError):
        return False


def restart_with(plan):
    """The next relay has this plan, those after it none."""
    fault.write_text(plan + "\n")
    fault.chmod(0o644)
    before = relay()
    if before:
        os.kill(before, signal.SIGKILL)
    wait_until(lambda: relay() not in (None, before) and ready(), 60, "a relay with the fault")
    fault.unlink()
    return relay()


def delivered(tag):
    found = collections.Counter()
    with sink.lock:
        messages = list(sink.messages)
    for _, _, message in messages:
        match = re.search(rb"^Subject: (\S+)\r$", message, re.M)
        if match is None or not match.group(1).startswith(tag.encode() + b"-"):
            continue
        assert is_signed(message), f"{match.group(1)} came without a signature"
        assert message.rstrip().endswith(b"--") and b"END OF BODY" in message, f"{match.group(1)} came torn"
        found[match.group(1).decode()] += 1
    return found


def settle(load):
    """-> (accepted, doubles that no client asked for, sent again by clients)"""
    load.stop()
    wait_until(lambda: load.accepted <= set(delivered(load.tag)), 90, "every accepted message at the next hop")
    wait_until(lambda: "0 messages" in box.console("show queue"), 60, "an empty queue")
    counts = delivered(load.tag)
    doubles = sum(max(0, counts[ident] - load.sent[ident]) for ident in counts)
    return len(load.accepted), doubles, sum(times - 1 for times in load.sent.values())


POINTS = ["message.received", "message.signed", "message.before-commit", "commit.before-row", "commit.before-commit",
          "commit.after-commit", "message.stored", "body.sync", "delivery.answered", "report.before-notice", "delivery.reported"]
RESULTS_MAX = 512  # of the store: what one batch of results holds, so what one kill may let be repeated


def killed_at(point):
    def check():
        pid = restart_with(f"{point}=kill:{chance.randrange(3, 12)}")
        load = Load(point)
        wait_until(lambda: relay() != pid, 60, f"the kill at {point}")
        time.sleep(0.3)
        accepted, doubles, again = settle(load)
        print(f"   {point}: {accepted} accepted, all delivered; {doubles} doubles, {again} sent again by clients")
        assert accepted >= SESSIONS
        assert doubles <= RESULTS_MAX
    return check


def killed_at_random():
    load = Load("random")
    for _ in range(KILLS):
        time.sleep(chance.uniform(0.2, 1.5))
        pid = relay()
        if pid:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda pid=pid: relay() not in (None, pid) and ready(), 60, "the next relay")
    accepted, doubles, again = settle(load)
    print(f"   {KILLS} kills: {accepted} accepted, all delivered; {doubles} doubles, {again} sent again by clients")
    assert accepted >= KILLS


def a_commit_in_the_middle_of_data():
    """A session in DATA lives through a commit, and so does a worker's death."""
    with Smtp(box.port) as client:
        for command in (f"MAIL FROM:<{SENDER}>", "RCPT TO:<to@example.net>", "DATA"):
            assert client.command(command)[0] < 400
        client.send(f"From: {SENDER}\r\nSubject: commit-0-0\r\nDate: {now()}\r\n\r\nfirst half\r\n".encode())
        box.configure("set server default smtp max-sessions 900")
        for pid in box.processes("inkan-hsm"):
            os.kill(pid, signal.SIGKILL)
        client.send(b"END OF BODY\r\n.\r\n")
        code, text = client.reply()
        assert code == 250, text
        assert client.command("NOOP")[0] == 250
    wait_until(lambda: delivered("commit"), 30, "the message")


print(f"seed {SEED}")
new_box()
case("a_commit_in_the_middle_of_data", a_commit_in_the_middle_of_data)
for at, named in enumerate(POINTS):
    if at % 2 == 0:
        new_box()
    case(f"killed_at {named}", killed_at(named))
new_box()
case("killed_at_random", killed_at_random)
box.down()
shutil.rmtree(programs, ignore_errors=True)
finish()

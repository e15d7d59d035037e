#!/usr/bin/python3
"""The PIN: given by an operator, a file or the token's own keypad; refused once; wiped. And the canary, on an idle appliance."""
import collections
import os
import pathlib
import re
import signal
import threading
import time

from faulty_token import FaultyToken
from inkan import Sandbox, contains, crlf, equal, run, send, test, wait_until

SENDER = "alice@example.com"
LOCKED = "451 4.3.0 Signing is locked"
LONG_PIN = "0123456789" * 25 + "abcde"  # 255 octets


def try_mail(box, sender=SENDER):
    message = crlf(f"From: {sender}\nTo: dave@example.net\nSubject: pin\n\nbody\n".encode())
    code, reply = send(box.port, sender, ["dave@example.net"], message)
    return "250" if code == 250 else reply


def boxes(token=None, **options):
    """An appliance for each back end, on a faulty token each."""
    for backend in ("engine", "cryptoki"):
        token = FaultyToken(**options)
        try:
            with token.sandbox("--backend", backend, "--sender", f"{SENDER}:p256") as box:
                yield token, box
        finally:
            token.remove()


def log_of(box):
    return pathlib.Path(box.box, "inkand.log").read_text(errors="replace")


def login(token, box, how="", ok=True, pin=None):
    return box.console(f"hsm login {how}".strip(), stdin=(pin or token.pin) + "\n", ok=ok)


def memory_holds(pid, needle):
    """Is it in any readable memory of that process? Only root may look."""
    with open(f"/proc/{pid}/maps", encoding="ascii") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            begin, end, rights = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+)", line).groups()
            if not rights.startswith("r") or "[v" in line:
                continue
            try:
                memory.seek(int(begin, 16))
                if needle in memory.read(int(end, 16) - int(begin, 16)):
                    return True
            except (OSError, OverflowError):
                continue
    return False


@test
def a_long_pin_is_wiped_by_logout_from_all_memory():
    for token, box in boxes(pin=LONG_PIN):
        equal(try_mail(box), "250")
        needle, inkand = LONG_PIN.encode()[40:200], int(box.env["SUPERVISOR_PID"])
        workers = box.processes("inkan-hsm")
        if os.geteuid() == 0:
            equal(memory_holds(inkand, needle), True, "inkand holds the PIN while signing is on")
        box.console("hsm logout")
        equal(box.processes("inkan-hsm"), [], "workers after logout")
        equal([pid for pid in workers if os.path.exists(f"/proc/{pid}/cmdline")], [], "worker processes after logout")
        if os.geteuid() == 0:
            for pid in [inkand, *box.processes("inkan-relay")]:
                equal(memory_holds(pid, needle), False, f"process {pid} holds the PIN after logout")
        equal(try_mail(box), LOCKED)
        equal(try_mail(box, "nobody@example.com"), "250", "mail that needs no signature")
        login(token, box)
        equal(try_mail(box), "250")
        equal(memory_holds(box.processes("inkan-relay")[0], needle) if os.geteuid() == 0 else False, False, "the relay and the PIN")


@test
def the_last_try_needs_the_operators_word():
    for token, box in boxes():
        box.console("hsm logout")
        before = len(token.logins())
        token.on("final-try")
        contains(login(token, box, ok=False), "hsm login final-try")
        equal(len(token.logins()), before, "logins while one try is left")
        shown = box.console("show hsm")
        contains(shown, "ONE TRY LEFT")
        contains(shown, "hsm login final-try")
        equal(try_mail(box), LOCKED)
        login(token, box, "final-try")
        equal(try_mail(box), "250")
        equal(token.is_on("final-try"), False, "the token counts anew after a right PIN")


@test
def a_wrong_last_try_locks_the_token_and_is_not_repeated():
    for token, box in boxes():
        box.console("hsm logout")
        before = len(token.logins())
        token.on("final-try")
        login(token, box, "final-try", ok=False, pin="wrong-pin")
        equal(token.is_on("pin-locked"), True, "the token is locked")
        time.sleep(2)
        equal(len(token.logins()) - before, 1, "logins")
        contains(box.console("show hsm"), "PIN LOCKED")
        contains(login(token, box, "final-try", ok=False), "locked")
        equal(len(token.logins()) - before, 1, "logins of a locked token")


@test
def the_pin_is_entered_at_the_token():
    for token, box in boxes():
        box.console("hsm logout")
        token.on("protected-path", token.pin)
        contains(box.console("hsm login keypad"), "Enter the PIN at the token")
        wait_until(lambda: try_mail(box) == "250", 10, "signatures")
        contains(box.console("show hsm"), "held")
        os.kill(box.processes("inkan-hsm")[0], signal.SIGKILL)
        wait_until(lambda: len(box.processes("inkan-hsm")) == 2, 10, "the worker is back, by the keypad")
        token.off("protected-path")
        box.console("hsm logout")
        before = len(token.logins())
        contains(box.console("hsm login keypad", ok=False), "no keypad")
        equal(len(token.logins()), before, "logins by a keypad that is not there")


@test
def a_pin_file_is_tried_once_and_again_when_it_is_written_anew():
    for token, box in boxes(pin=LONG_PIN):
        file = pathlib.Path(box.directory, "pin")
        file.write_text("not the pin\n")
        box.console("hsm logout")
        before = len(token.logins())
        box.configure(f"set hsm pin-source file:{file}")
        wait_until(lambda: len(token.logins()) > before, 10, "the PIN file is tried")
        time.sleep(3)
        equal(len(token.logins()) - before, 1, "logins with the wrong file")
        equal(try_mail(box), LOCKED)
        file.write_text(token.pin + "\n")
        box.configure("set hsm deadline 19s")
        wait_until(lambda: try_mail(box) == "250", 10, "the new file is tried")


@test
def nobody_is_killed_within_a_login():
    """Logout, commit and shutdown while C_Login takes its time: the workers end by themselves, the token lives."""
    token = FaultyToken()
    try:
        box = token.sandbox("--sender", f"{SENDER}:p256")
        box.console("hsm logout")
        token.on("slow.C_Login", "4000")
        before = len(token.logins())
        thread = threading.Thread(target=lambda: login(token, box, ok=None), daemon=True)
        thread.start()
        wait_until(lambda: len(token.logins()) > before, 10, "a slow login")
        box.console("hsm logout")
        equal(box.processes("inkan-hsm"), [], "workers after logout")
        thread.join(timeout=30)
        login(token, box, ok=None)
        box.configure("set hsm threads 3")  # restarts the workers in turn
        wait_until(lambda: token.is_on("logins") and len(token.logins()) - before >= 3, 20, "the restart logs in")
        log = log_of(box)
        began = time.monotonic()
        os.kill(int(box.env["SUPERVISOR_PID"]), signal.SIGTERM)
        wait_until(lambda: "inkand info stopped" in log_of(box)[len(log):], 30, "inkand ends")
        print(f"   inkand ended after {time.monotonic() - began:.1f} s")
        equal("killed by signal" in log_of(box), False, "a worker was killed")
        twice = [pid for pid, count in collections.Counter(token.logins()).items() if count > 1]
        equal(twice, [], "processes that called C_Login twice")
        equal(token.is_on("overlap"), False, "two logins at once")
        sizes = [p.stat().st_size for p in (token.directory / "tokens").rglob("token.object")]
        equal(len(sizes) == 1 and sizes[0] > 0, True, f"token.object is whole: {sizes}")
        box.down()
    finally:
        token.remove()


@test
def a_canary_notices_a_dead_hsm_before_mail_does():
    for token, box in boxes():
        box.configure("set hsm canary 1s")
        wait_until(lambda: len(box.processes("inkan-hsm")) == 2, 20, "workers")
        wait_until(lambda: "canary.signed" in log_of(box), 15, "a canary in the log")
        wait_until(lambda: "signed in" in box.console("show hsm"), 10, "the canary in show hsm")
        token.on("error", "30")
        wait_until(lambda: "alarm.canary" in log_of(box), 15, "the alarm")
        wait_until(lambda: "CKR_DEVICE_ERROR" in box.console("show system programs"), 10, "the error at the console")
        token.off("error")
        token.on("lost")
        wait_until(lambda: "alarm.hsm-down" in log_of(box), 30, "the HSM is down")
        contains(box.console("show system programs"), "CKR_")
        equal(log_of(box).count("alarm.hsm-down"), 1, "alarms")
        token.off("lost")
        wait_until(lambda: "alarm.hsm-up" in log_of(box), 10, "the HSM is up")
        equal(try_mail(box), "250")


@test
def a_dead_hsm_is_refused_at_once_and_comes_back_by_itself():
    for token, box in boxes():
        token.on("lost")
        first = time.monotonic()
        replies = []
        threads = [threading.Thread(target=lambda: replies.append(try_mail(box))) for _ in range(4)]
        for thread in threads:
            thread.start()
        wait_until(lambda: "alarm.signing-suspended" in log_of(box), 15, "signing is suspended")
        for _ in range(20):
            began = time.monotonic()
            contains(try_mail(box), "451 4.3.0 Signing is not available: the token is absent")
            equal(time.monotonic() - began < 2, True, "at once")
        equal(log_of(box).count("alarm.signing-suspended"), 1, "alarms")
        contains(box.console("show system programs"), "relay")
        token.off("lost")
        back = time.monotonic()
        wait_until(lambda: try_mail(box) == "250", 5, "signing is back")
        print(f"   suspended after {first and back - first:.1f} s, back {time.monotonic() - back:.1f} s after the token")
        for thread in threads:
            thread.join(timeout=30)
        equal(len(replies), 4, "answers")


if __name__ == "__main__":
    run()

#!/usr/bin/python3
"""The configuration in the operator's hands: a commit that must be confirmed, on a running appliance and across restarts."""
import contextlib
import json
import os
import pathlib
import signal
import sqlite3
import subprocess
import time

from inkan import Sandbox, Smtp, contains, crlf, equal, run, send, test, wait_until

BOX = Sandbox()
DATABASE = pathlib.Path(BOX.box, "inkan.db")
MAIL = crlf(b"From: a@example.com\nTo: b@example.com\nSubject: x\n\ntext\n")


def running_revision():
    return json.loads(BOX.console("show system commit | json"))[0]["revision"]



def greeting():
    with Smtp(BOX.port) as client:
        return client.greeting[1]


def leave_milliseconds(left):
    """As if so many were left of the time to confirm."""
    with contextlib.closing(sqlite3.connect(DATABASE, timeout=10)) as db, db:
        db.execute("UPDATE revision SET confirm_ms = ? WHERE confirm_ms > 0", (int(time.time() * 1000) + left,))


def stop_inkand():
    pid = int(BOX.env["SUPERVISOR_PID"])
    words = pathlib.Path("/proc", str(pid), "cmdline").read_text().split("\0")[:-1]
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not pathlib.Path("/proc", str(pid)).exists()
               or b") Z " in pathlib.Path("/proc", str(pid), "stat").read_bytes(), 60, "inkand ends")
    return words


def start_inkand(words):
    with open(pathlib.Path(BOX.box, "inkand.log"), "a", encoding="utf-8") as log:
        inkand = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", start_new_session=True)
    pathlib.Path(BOX.box, "inkand.pid").write_text(f"{inkand.pid}\n")
    BOX.env["SUPERVISOR_PID"] = str(inkand.pid)
    wait_until(answers, 60, "the relay greets")


def answers():
    with contextlib.suppress(OSError):
        return greeting()
    return None


def commit_confirmed(name, minutes="5"):
    before = running_revision()
    said = BOX.console(f"set system host-name {name}", f"commit confirmed {minutes}")
    contains(said, f"will be rolled back to revision {before} in {minutes} minutes unless confirmed")
    contains(greeting(), name)
    return before


@test
def a_commit_that_is_confirmed_stays():
    BOX.console("set system host-name first.example.com", "commit")
    commit_confirmed("confirmed.example.com")
    contains(BOX.console("show system commit"), "will be rolled back")
    contains(BOX.console("commit"), "is confirmed and stays")
    contains(greeting(), "confirmed.example.com")


@test
def a_commit_that_nobody_confirms_is_rolled_back():
    commit_confirmed("lost.example.com")
    leave_milliseconds(0)
    wait_until(lambda: "confirmed.example.com" in greeting(), 60, "the old host name is back")
    wait_until(lambda: "(automatic)" in BOX.console("show log audit 20"), 60, "an audit row says so")
    contains(BOX.console("show log audit 20"), "was not confirmed")
    contains(BOX.console("show configuration | match host-name"), "confirmed.example.com")
    equal(send(BOX.port, "a@example.com", ["b@example.com"], MAIL)[0], 250, "mail afterwards")


@test
def a_restart_neither_forgets_nor_confirms():
    commit_confirmed("restarted.example.com", "90")
    start_inkand(stop_inkand())
    contains(greeting(), "restarted.example.com")
    leave_milliseconds(0)
    wait_until(lambda: "confirmed.example.com" in greeting(), 60, "the old host name is back")


@test
def what_was_late_before_the_start_never_runs():
    wait_until(lambda: "confirmed.example.com" in BOX.console("show configuration | match host-name"), 60, "all is quiet")
    before = commit_confirmed("late.example.com")
    words = stop_inkand()
    leave_milliseconds(-1000)
    start_inkand(words)
    contains(greeting(), "confirmed.example.com")
    wait_until(lambda: running_revision() > before + 1, 60, "inkan.db says so")
    contains(BOX.console("show system commit"), "was not confirmed")
    contains(greeting(), "confirmed.example.com")


run()

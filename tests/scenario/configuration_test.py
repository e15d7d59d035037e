#!/usr/bin/python3
"""The configuration in the operator's hands: a commit that must be confirmed, on a running appliance and across restarts."""
import contextlib
import json
import os
import pathlib
import pty
import select
import shlex
import signal
import socket
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
    contains(said, f"will be rolled back to {before} in {minutes} minutes unless you commit")
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


class Typist:
    """A login at a terminal, up to the question for the password."""

    def __init__(self, term="vt100"):
        words = shlex.split(BOX.env["INKAN"])
        words = [w for i, w in enumerate(words) if w != "-P" and words[i - 1] != "-P"]
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(words[0], words, {**os.environ, "TERM": term})
        self.seen = ""

    def until(self, wanted, seconds=60):
        deadline, start = time.monotonic() + seconds, len(self.seen)
        while wanted not in self.seen[start:]:
            if not select.select([self.fd], [], [], max(0, deadline - time.monotonic()))[0]:
                raise AssertionError(f"{wanted!r} did not come; {self.seen!r}")
            self.seen += os.read(self.fd, 4096).decode("utf-8", "replace")
        return self.seen[start:]

    def type(self, text, wanted):
        os.write(self.fd, text.encode())
        return self.until(wanted)

    def log_in(self):
        self.until("Password of account")
        return self.type(pathlib.Path(BOX.env["ADMIN_PASSWORD_FILE"]).read_text().strip() + "\r", "admin> ")

    def status(self):
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@test
def a_banner_greets_and_idleness_ends():
    BOX.console('set system banner "Authorised use only.\\nAll is recorded."', "set system idle-timeout 6s", "commit")
    typist = Typist()
    typist.log_in()
    contains(typist.seen.split("Password")[0], "Authorised use only.\r\nAll is recorded.\r\n")
    typist.type("configure\r", "# ")
    typist.type("set hsm deadline 19s\r", "# ")
    typist.type("set hsm", "Logged out")
    equal(typist.status(), 0, "exit status of an idle login")
    contains(BOX.console("show log audit 5"), "logout: idle")
    contains(BOX.console("show configuration | compare"), "+ set hsm deadline 19s")
    BOX.console("rollback 0", "delete system idle-timeout", "delete system banner", "commit")


@test
def a_secret_in_a_wrong_line_is_not_recalled():
    typist = Typist()
    typist.log_in()
    typist.type("hsm login hunter2\r", "admin> ")
    typist.type("\x10", "hsm login")  # Ctrl-P
    recalled = typist.type("\x15show accounts | count\r", "admin> ")
    equal("hunter2" in recalled, False, "the PIN is in the history")
    os.write(typist.fd, b"exit\r")
    equal(typist.status(), 0, "exit status")


@test
def the_setup_is_left_without_a_trace_of_the_step():
    typist = Typist("dumb")
    typist.log_in()
    typist.type("system setup\r", "Host name")
    typist.type("not a name\r", "Host name")
    typist.type("setup.example.com\r", "DNS server")
    typist.type("\r", "PKCS#11 module")
    typist.type("/no/such/module.so\r", "Label of the token: ")
    typist.type("\x03", "admin> ")
    contains(typist.seen, "what this step has set is dropped")
    long = [line for line in typist.seen.split("\r\n") if len(line) > 80 and "\r" not in line and not line.startswith("warning: ")]
    equal(long, [], "lines of more than 80 columns")
    contains(BOX.console("show configuration | match host-name"), "setup.example.com")
    equal(BOX.console("show configuration | compare"), "", "what was set before Ctrl-C")
    os.write(typist.fd, b"exit\r")
    equal(typist.status(), 0, "exit status")


@test
def settings_go_out_and_come_back():
    file = pathlib.Path(BOX.directory, "saved.conf")
    said = BOX.console(f"save {file}")
    contains(said, "Saved: ")
    before = BOX.console("show configuration")
    BOX.console("delete server default smime exclude", "set hsm deadline 18s", "commit")
    contains(BOX.console(f"load override {file}", "commit"), "Committed")
    equal(BOX.console("show configuration"), before, "the configuration")
    file.write_text(file.read_text() + "set hsm threads many\n")
    contains(BOX.console(f"load override {file}", ok=False), f"saved.conf:{len(file.read_text().splitlines())}: ")
    equal(BOX.console("show configuration | compare"), "", "edits of a load that failed")
    equal(send(BOX.port, "a@example.com", ["b@example.com"], MAIL)[0], 250, "mail afterwards")


@test
def a_backup_brings_a_running_appliance_back():
    file = pathlib.Path(BOX.directory, "backup")
    BOX.console("set system host-name backed-up.example.com", "commit")
    BOX.console(f"backup {file}")
    before = BOX.console("show configuration")
    rows = len(json.loads(BOX.console("show log audit 1000 | json")))
    BOX.console("set system host-name after.example.com", "delete server default smtp allow-network", "commit")
    contains(greeting(), "after.example.com")
    password = pathlib.Path(BOX.env["ADMIN_PASSWORD_FILE"]).read_text()
    contains(BOX.console(f"restore {file}", stdin=password), "Restored: ")
    equal(BOX.console("show configuration"), before, "the configuration")
    contains(greeting(), "backed-up.example.com")
    equal(send(BOX.port, "a@example.com", ["b@example.com"], MAIL)[0], 250, "mail afterwards")
    equal(len(json.loads(BOX.console("show log audit 1000 | json"))) > rows + 4, True, "the audit trail goes on")


@test
def an_address_that_is_taken_is_found_before_anything_changes():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        for command in ("commit check", "commit"):
            said = BOX.console(f"set server default smtp listen {address}", "set system host-name half.example.com", command, ok=False)
            contains(said, address)
            equal("half.example.com" in greeting(), False, "half of a commit runs")
    BOX.console("rollback 0")
    contains(BOX.console('set server default smime exclude recipient "["', ok=False), "[")


run()

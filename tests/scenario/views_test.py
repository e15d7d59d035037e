#!/usr/bin/python3
"""What an operator looks at: the live view, statistics, servers, a test mail on its way; names that Tab knows; the history."""
import fcntl
import json
import os
import pathlib
import pty
import re
import select
import shlex
import signal
import struct
import termios
import time

from inkan import Sandbox, Sink, contains, crlf, equal, is_signed, run, send, test, wait_until

SENDER = "alice@example.com"
SINK = Sink()
BOX = Sandbox("--next-hop", f"127.0.0.1:{SINK.port}", "--sender", f"{SENDER}:rsa2048")


class Terminal:
    """A console on a pseudo-terminal."""

    def __init__(self, size=(24, 80), term="vt100", **more):
        environment = {k: v for k, v in os.environ.items() if k not in ("SSH_CONNECTION", "LANG", "LC_ALL", "LC_CTYPE")}
        environment.update({"TERM": term}, **more)
        words = shlex.split(BOX.env["INKAN"])
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(words[0], words, environment)
        self.resize(*size)
        self.until("admin> ")

    def resize(self, rows, columns):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text, wait="admin> "):
        os.write(self.fd, text.encode())
        return self.until(wait) if wait else ""

    def until(self, wanted, seconds=30):
        seen, deadline = b"", time.monotonic() + seconds
        while wanted.encode() not in seen:
            if not select.select([self.fd], [], [], max(0, deadline - time.monotonic()))[0]:
                raise AssertionError(f"{wanted!r} did not come; {seen!r}")
            seen += os.read(self.fd, 4096)
        return seen.decode("utf-8", "replace")

    def settings(self):
        return termios.tcgetattr(self.fd)[:4]

    def end(self):
        os.close(self.fd)
        return self.wait()

    def wait(self):
        _, status = os.waitpid(self.pid, 0)
        return os.waitstatus_to_exitcode(status)


def mail(count):
    for number in range(count):
        equal(send(BOX.port, SENDER, ["x@example.net"], crlf(f"From: {SENDER}\nSubject: {number}\n\nbody\n".encode()))[0], 250)


@test
def the_live_view_shows_what_happens():
    terminal = Terminal()
    mail(5)
    first = terminal.type("monitor\r", "CERTIFICATES that end next")
    contains(first, "MESSAGES")
    contains(first, "\x1b[H")
    second = terminal.until("CERTIFICATES that end next")
    contains(second, "since start")
    equal(int(re.search(r"since start +(\d+)", second).group(1)) >= 5, True, second)
    for line in second.split("\n"):
        shown = re.sub(r"\x1b\[[0-9]*[A-Z]", "", line).rstrip("\r")
        equal(len(shown) < 80, True, f"80 columns: {shown!r}")
    contains(terminal.until("364 days"), SENDER)
    terminal.type("q")
    contains(terminal.type("show servers\r"), "default")
    terminal.end()


@test
def the_terminal_is_as_it_was_however_the_view_ends():
    for way in ("q", "\x03", "TERM", "HUP"):
        terminal = Terminal()
        keeper = os.open(pts_of(terminal.fd), os.O_RDWR | os.O_NOCTTY)
        terminal.type("show servers\r")
        terminal.type("monitor\r", "CERTIFICATES")
        equal(bool(termios.tcgetattr(keeper)[3] & termios.ECHO), False, "echo while it runs")
        if len(way) == 1:
            terminal.type(way)
            terminal.type("exit\r", None)
        else:
            os.kill(terminal.pid, getattr(signal, "SIG" + way))
        equal(terminal.wait(), 0, way)
        flags = termios.tcgetattr(keeper)[3]
        equal(bool(flags & termios.ECHO and flags & termios.ICANON and flags & termios.ISIG), True, f"flags after {way}")
        os.close(keeper)
        os.close(terminal.fd)


def pts_of(fd):
    number = struct.unpack("I", fcntl.ioctl(fd, 0x80045430, struct.pack("I", 0)))[0]  # TIOCGPTN
    return f"/dev/pts/{number}"


@test
def a_dumb_terminal_gets_one_screen_after_the_other():
    terminal = Terminal(term="dumb")
    shown = terminal.type("monitor\r", "CERTIFICATES") + terminal.until("CERTIFICATES")
    equal("\x1b" in shown, False, f"escapes: {shown!r}")
    terminal.type("\x03")
    terminal.end()


@test
def the_view_follows_the_size():
    terminal = Terminal(size=(24, 80))
    terminal.type("monitor\r", "CERTIFICATES")
    terminal.resize(8, 40)
    terminal.until("\x1b[J")
    small = terminal.until("\x1b[J") + terminal.until("\x1b[J")
    small = small[small.rindex("\x1b[H"):]
    lines = [re.sub(r"\x1b\[[0-9]*[A-Z]", "", line).rstrip("\r") for line in small.split("\n")]
    equal(len(lines) <= 8, True, f"{len(lines)} lines")
    equal(max(map(len, lines)) < 40, True, f"{lines}")
    terminal.type("q")
    terminal.end()


@test
def block_characters_come_with_a_locale_that_has_them():
    mail(1)
    for locale, wanted in [({}, "#"), ({"LANG": "C.UTF-8"}, "█")]:
        terminal = Terminal(**locale)
        terminal.type("monitor\r", wanted)
        terminal.type("q")
        terminal.end()


@test
def a_test_mail_is_followed_to_its_end():
    before = len(SINK.messages)
    terminal = Terminal()
    said = terminal.type(f"test mail from {SENDER} to bob@example.net\r", "Delivery: delivered")
    for part in ("Relay: 250", "Decision: signed", f"by the certificate of {SENDER}", "Queue id: "):
        contains(said, part)
    terminal.until("admin> ")
    arrived = SINK.wait(before + 1)[-1][2]
    equal(is_signed(arrived), True, "the mail is signed")
    contains(terminal.type(f"test mail from {SENDER} to carrier@docomo.ne.jp server default\r", "Delivery: "), "Decision: plain")
    terminal.until("admin> ")
    contains(terminal.type(f"test mail from {SENDER} to bob@example.net server none\r"), "no server none runs")
    terminal.end()


@test
def a_test_mail_that_is_not_delivered_is_an_error():
    SINK.answer[b"RCPT TO:<later@"] = "450 4.2.2 Mailbox full"
    SINK.answer[b"RCPT TO:<gone@"] = "550 5.1.1 No such user"
    contains(BOX.console(f"test mail from {SENDER} to later@example.net", ok=False), "450 4.2.2 Mailbox full")
    contains(BOX.console(f"test mail from {SENDER} to gone@example.net", ok=False), "550 5.1.1 No such user")
    SINK.answer.clear()


@test
def ctrl_c_stops_the_following_only():
    SINK.answer[b"RCPT TO:<late@"] = "450 4.2.0 Later"
    BOX.configure("set server default queue retry 1s")
    terminal = Terminal()
    terminal.type(f"test mail from {SENDER} to late@example.net\r", "Queue id: ")
    said = terminal.type("\x03", "admin> ")
    equal("No longer followed" in said or "deferred" in said, True, said)
    before = len(SINK.messages)
    listed = terminal.type("queue retry ?", "late@example.net")
    contains(listed, "all")
    identifier = re.search(r"([0-9a-f]{12,}) +\S+ -> late@", listed).group(1)
    terminal.type("\x15", None)
    terminal.type(f"show queue {identifier[:-1]}\t\r", "Recipient:          late@example.net")
    SINK.answer.clear()

    def arrives():
        BOX.console("queue retry all")
        return len(SINK.messages) > before

    wait_until(arrives, 60, "the mail that nobody followed any more")
    terminal.end()


@test
def statistics_count_what_was_sent():
    def counted():
        rows = json.loads(BOX.console("show statistics | json"))
        return sum(row["messages"] for row in rows), sum(row["signed"] for row in rows), sum(row["plain"] for row in rows)

    before = counted()
    mail(3)
    wait_until(lambda: counted() == (before[0] + 3, before[1] + 3, before[2]), 10, f"three more than {before}, not {counted()}")
    for command in ("show statistics", "show statistics last 7d", "show statistics server default", "show server default",
                    "show sessions"):
        for line in BOX.console(command).splitlines():
            equal(len(line) < 80, True, f"{command}: {line!r}")
    contains(BOX.console("show statistics last 7d"), time.strftime("%Y-%m-%d", time.gmtime()))
    contains(BOX.console("show statistics 2026-02-30", ok=False), "neither a day")
    equal(json.loads(BOX.console("show server default | json"))[0]["certificates"].count(SENDER), 1)


@test
def the_log_is_searched_by_text_and_time():
    mail(1)
    equal(SENDER in BOX.console("show log delivery text X@EXAMPLE count 1"), True)
    equal(BOX.console("show log delivery text nothing-of-this").strip(), "")
    equal(SENDER in BOX.console("show log delivery since 2020-01-01 last 1"), True)
    equal(BOX.console("show log delivery until 2020-01-01T10:00").strip(), "")
    contains(BOX.console("show log delivery since yesterday", ok=False), "2027-01-31")


@test
def filters_do_what_they_say():
    equal(json.loads(BOX.console("show certificates | match nobody | json")), [])
    equal(BOX.console("show certificates | match alice | json | count").strip(), "1")
    contains(BOX.console("show accounts | compare", ok=False), "compare is for")
    contains(BOX.console("monitor | json", ok=False), "monitor is a screen")
    equal("alice" in BOX.console("show certificates | except alice"), False)


@test
def the_history_comes_back_and_holds_no_secret():
    terminal = Terminal()
    terminal.type("show accounts\r")
    terminal.type("set server default user u password hunter2\r")
    terminal.type("hunter2\r")
    terminal.end()
    terminal = Terminal()
    contains(terminal.type("\x1b[A\r", "ROLE"), "show accounts")
    terminal.end()
    path = pathlib.Path(BOX.box) / "history" / "admin.lines"
    text = path.read_text()
    contains(text, "show accounts")
    equal("hunter2" in text, False, "a password in the history")
    equal(path.stat().st_mode & 0o777, 0o600)


@test
def wide_characters_are_typed_and_erased():
    terminal = Terminal(LANG="C.UTF-8")
    terminal.type("configure\r", "admin# ")
    terminal.type("set hsm token 印鑑x", "x")
    terminal.type("\x7f\x7f\r", "admin# ")
    contains(terminal.type("show | compare\r", "admin# "), "+ set hsm token 印\r\n")
    said = terminal.type("set hsm module-writable 印鑑\r", "error: ")
    contains(said, "\n" + " " * 24 + "^^^^\r\n")
    terminal.type("rollback 0\r", "admin# ")
    terminal.end()


@test
def a_paste_at_9600_baud_is_taken_whole():
    for term in ("vt100", "dumb"):
        terminal = Terminal(term=term)
        terminal.type("configure\r", "admin# ")
        lines = "".join(f"set server default smime exclude recipient ^paste{i}@\r" for i in range(20)).encode()
        while lines:
            os.write(terminal.fd, lines[:96])
            lines = lines[96:]
            if select.select([terminal.fd], [], [], 0.1)[0]:
                os.read(terminal.fd, 65536)
        terminal.type("show | compare | match paste | count\r", "\n20\r")
        terminal.type("rollback 0\r", "admin# ")
        terminal.end()


if __name__ == "__main__":
    run()

#!/usr/bin/python3
"""The console as a person at a terminal meets it: pages, Ctrl-C, a dropped line, terminals that say nothing of themselves."""
import fcntl
import os
import pty
import select
import shlex
import signal
import struct
import termios
import time

from inkan import Sandbox, contains, equal, run, test

BOX = Sandbox()
MORE = "---(more)---"


class Terminal:
    """A console on a pseudo-terminal; size None leaves it 0x0, as a serial line is."""

    def __init__(self, size=(24, 80), term="vt100"):
        environment = {k: v for k, v in os.environ.items() if k not in ("TERM", "SSH_CONNECTION")}
        if term is not None:
            environment["TERM"] = term
        words = shlex.split(BOX.env["INKAN"])
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(words[0], words, environment)
        if size:
            fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
        self.until("admin> ")

    def type(self, text, wait="> "):
        os.write(self.fd, text.encode())
        return self.until(wait) if wait else ""

    def until(self, wanted, seconds=20):
        seen, deadline = "", time.monotonic() + seconds
        while wanted not in seen:
            if not select.select([self.fd], [], [], max(0, deadline - time.monotonic()))[0]:
                raise AssertionError(f"{wanted!r} did not come; {seen!r}")
            seen += os.read(self.fd, 4096).decode("utf-8", "replace")
        return seen

    def end(self):
        """-> the exit status, or minus the signal."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.05)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        raise AssertionError("the console did not end")


def rows(text):
    """How many rows of 80 columns stand between the command and the stop."""
    return sum(max(1, -(-len(line) // 80)) for line in text.split("\r\n")[1:-1])


@test
def long_output_comes_in_pages():
    terminal = Terminal()
    first = terminal.type("help\r", MORE)
    equal(rows(first) in (22, 23), True, f"rows before the first stop: {rows(first)}")
    one = terminal.type("\r", MORE)
    equal(one.count("\r\n"), 1, "rows of Enter")
    contains(terminal.type("/show acc\r", MORE), "show accounts")
    contains(terminal.type("/no such text\r", "(not found)"), "(not found)")
    terminal.type("q", "admin> ")
    whole = terminal.type("help | no-more\r", "admin> ")
    equal(MORE in whole, False, "a stop with no-more")
    terminal.type("exit\r", None)
    equal(terminal.end(), 0, "exit status")


@test
def a_script_is_never_stopped():
    said = BOX.console("help")
    equal(MORE in said, False)
    equal(len(said.splitlines()) > 24, True)


@test
def terminals_that_say_nothing_have_24_rows():
    for size, term in [(None, "vt100"), (None, "dumb"), (None, None), ((24, 80), "dumb")]:
        terminal = Terminal(size, term)
        shown = rows(terminal.type("help\r", MORE))
        equal(shown in (22, 23), True, f"{shown} rows on {term}, {size}")
        terminal.type("q", "admin> ")
        terminal.type("exit\r", None)
        equal(terminal.end(), 0, "exit status")


@test
def ctrl_c_ends_the_command_and_not_the_console():
    terminal = Terminal()
    terminal.type("help\r", MORE)
    terminal.type("\x03", "admin> ")
    terminal.type("account password\r", "Password of account admin: ")
    contains(terminal.type("\x03", "admin> "), "interrupted")
    terminal.type("show serv", None)
    terminal.type("\x03", "admin> ")
    contains(terminal.type("show servers\r", "admin> "), "default")
    terminal.type("exit\r", None)
    equal(terminal.end(), 0, "exit status")


@test
def filters_are_listed_and_completed_behind_the_pipe():
    terminal = Terminal()
    contains(terminal.type("show servers | ?", "no-more"), "except")
    contains(terminal.type("no-m\t\r", "default"), "ore \r\n")
    terminal.type("exit\r", None)
    equal(terminal.end(), 0, "exit status")


@test
def a_dropped_line_keeps_the_candidate_and_ends_the_login():
    for at in ("prompt", "question", "page"):
        terminal = Terminal()
        terminal.type("configure\r", "admin# ")
        terminal.type("set server default smtp max-recipients 77\r", "admin# ")
        if at == "question":
            terminal.type("account password\r", "Password of account admin: ")
        elif at == "page":
            terminal.type("help\r", MORE)
        os.close(terminal.fd)
        terminal.end()
        terminal = Terminal()
        contains(terminal.type("configure\r", "admin# "), "earlier edits")
        contains(terminal.type("show | compare\r", "admin# "), "max-recipients 77")
        terminal.type("rollback 0\r", "admin# ")
        terminal.type("exit\r", "admin> ")
        terminal.type("exit\r", None)
        equal(terminal.end(), 0, "exit status")


if __name__ == "__main__":
    run()

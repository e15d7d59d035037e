#!/usr/bin/python3
"""Files that come in at the terminal: ZMODEM from the sender of another maker's program, pasted text, lines that drop."""
import glob
import os
import pathlib
import pty
import select
import shlex
import signal
import subprocess
import time

from inkan import Sandbox, contains, equal, run, test, wait_until

ADDRESS = "sender@example.com"
BOX = Sandbox("--without-tls")
FILE = os.path.join(BOX.env["PKCS12_DIR"], f"{ADDRESS}.p12")


class Terminal:
    """A console on a pseudo-terminal."""

    def __init__(self):
        words = shlex.split(BOX.env["INKAN"])
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(words[0], words, {**os.environ, "TERM": "vt100"})
        self.until("admin> ")

    def type(self, text, wait):
        os.write(self.fd, text.encode())
        return self.until(wait)

    def until(self, wanted, seconds=60):
        seen, deadline = "", time.monotonic() + seconds
        while wanted not in seen:
            if not select.select([self.fd], [], [], max(0, deadline - time.monotonic()))[0]:
                raise AssertionError(f"{wanted!r} did not come; {seen!r}")
            seen += os.read(self.fd, 4096).decode("utf-8", "replace")
        return seen

    def send_by_zmodem(self, *files, cut=None):
        """sz at the other end of the line; `cut` drops the line after so many octets. -> what it said last."""
        sender = subprocess.Popen(["sz", "--binary", *files], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        seen, sent, deadline = b"", 0, time.monotonic() + 60
        while sender.poll() is None or select.select([sender.stdout], [], [], 0)[0]:
            equal(time.monotonic() < deadline, True, f"the transfer ends; {seen[-300:]!r}")
            ready = select.select([self.fd, sender.stdout], [], [], 0.2)[0]
            if sender.stdout in ready:
                octets = os.read(sender.stdout.fileno(), 512)
                if not octets:
                    break
                if cut is not None and sent + len(octets) > cut:
                    sender.kill()
                    break
                os.write(self.fd, octets)
                sent += len(octets)
            if self.fd in ready:
                octets = os.read(self.fd, 4096)
                seen += octets
                try:
                    sender.stdin.write(octets)
                    sender.stdin.flush()
                except BrokenPipeError:
                    pass
        sender.stdin.close()
        sender.wait(timeout=20)
        sender.stdout.close()
        return seen.decode("utf-8", "replace")

    def end(self):
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.05)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        raise AssertionError("the console did not end")


def left_behind():
    return [d for place in ("/dev/shm", "/run", "/tmp") for d in glob.glob(f"{place}/inkan-rz-*")]


def nothing_came(before):
    wait_until(lambda: left_behind() == [], 20, "the directory of the transfer goes")
    equal(BOX.console("show certificates"), before)


@test
def a_file_comes_by_zmodem():
    terminal, before = Terminal(), BOX.console("show certificates")
    terminal.type(f"certificate renew {ADDRESS} zmodem\r", "Ctrl-C ends it):")
    if "PKCS#12 file: " not in terminal.send_by_zmodem(FILE):
        terminal.until("PKCS#12 file: ")
    os.write(terminal.fd, (BOX.env["PKCS12_PASSWORD"] + "\r").encode())
    contains(terminal.until("admin> "), "Renewed")
    contains(BOX.console("show certificates"), "renewed: takes effect at commit")
    equal(BOX.console("show certificates") != before, True)
    equal(left_behind(), [])
    terminal.type("exit\r", "\r\n")
    equal(terminal.end(), 0)


@test
def two_files_and_large_ones_are_refused():
    terminal, before = Terminal(), BOX.console("show certificates")
    other, large = os.path.join(BOX.directory, "other.p12"), os.path.join(BOX.directory, "large.p12")
    pathlib.Path(other).write_bytes(b"x" * 100)
    pathlib.Path(large).write_bytes(os.urandom(1200000))
    terminal.type(f"certificate renew {ADDRESS} zmodem\r", "Ctrl-C ends it):")
    terminal.send_by_zmodem(FILE, other)
    os.write(terminal.fd, b"\r")
    contains(terminal.until("admin> "), "several files came")
    terminal.type(f"certificate renew {ADDRESS} zmodem\r", "Ctrl-C ends it):")
    said = terminal.send_by_zmodem(large)
    contains(said + terminal.type("\r", "admin> "), "error:")
    nothing_came(before)
    terminal.type("exit\r", "\r\n")
    equal(terminal.end(), 0)


@test
def ctrl_c_ends_the_wait_for_a_file():
    terminal, before = Terminal(), BOX.console("show certificates")
    terminal.type(f"certificate renew {ADDRESS} zmodem\r", "Ctrl-C ends it):")
    contains(terminal.type("\x03", "admin> "), "interrupted")
    contains(terminal.type("show servers\r", "admin> "), "default")
    nothing_came(before)
    terminal.type("exit\r", "\r\n")
    equal(terminal.end(), 0)


@test
def a_line_that_drops_leaves_nothing():
    before = BOX.console("show certificates")
    for way, cut in (("zmodem", 600), ("zmodem", 0), ("", None)):
        terminal = Terminal()
        prompt = "Ctrl-C ends it):" if way else "`.`:"
        terminal.type(f"certificate renew {ADDRESS} {way}\r", prompt)
        if way:
            terminal.send_by_zmodem(FILE, cut=cut)
        else:
            os.write(terminal.fd, b"TUlJ\r" * 100)
        os.close(terminal.fd)
        terminal.end()
        nothing_came(before)


@test
def sticks_are_listed_and_nothing_else_is_read():
    contains(BOX.console(f"certificate renew {ADDRESS} usb:", ok=False), "usb:NAME")
    contains(BOX.console(f"certificate renew {ADDRESS} usb:../../etc/passwd", ok=False), "removable medium")
    contains(BOX.console(f"certificate renew {ADDRESS} zmodem", ok=False), "needs a terminal")


if __name__ == "__main__":
    run()

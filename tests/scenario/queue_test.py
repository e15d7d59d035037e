#!/usr/bin/python3
"""What an operator does with waiting mail (hold, release, delete, retry), and a next hop by IPv6."""
import pathlib
import re
import socket
import threading

from inkan import Sandbox, Sink, contains, crlf, equal, now, run, send, test, wait_until

SENDER = "x@example.org"


def accept(box, to):
    """-> the id of the message."""
    text = f"From: {SENDER}\nTo: {to}\nSubject: queue\nDate: {now()}\n\nhello\n"
    code, reply = send(box.port, SENDER, [to], crlf(text.encode()))
    equal(code, 250, reply)
    return re.search(r"queued as (\S+)", reply).group(1)


def log_of(box):
    return "".join(path.read_text(errors="replace") for path in pathlib.Path(box.box).glob("*.log"))


def attempts(box, address, result):
    return len(re.findall(rf"delivery\.result .*recipient={re.escape(address)} .*result={result} ", log_of(box)))


def recipients(sink):
    return sorted(one for _, to, _ in list(sink.messages) for one in to)


@test
def held_mail_stays_deleted_mail_is_gone_and_the_rest_arrives():
    sink = Sink()
    sink.close()
    with Sandbox("--next-hop", f"127.0.0.1:{sink.port}") as box:
        box.configure("set server default queue retry 1h")
        names = [f"{name}@example.net" for name in ("held", "deleted", "waiting")]
        held, deleted, _ = [accept(box, name) for name in names]
        for name in names:
            wait_until(lambda name=name: attempts(box, name, "deferred"), 20, f"{name} is deferred")
        box.console(f"queue hold {held}")
        contains(box.console(f"show queue {held}"), "held")
        box.console(f"queue delete {deleted}", stdin="yes\n")
        box.console(f"show queue {deleted}", ok=False)
        sink.open()
        wait_until(lambda: recipients(sink) == ["waiting@example.net"], 60, "what waits arrives when the next hop is back")
        accept(box, "new@example.net")
        wait_until(lambda: "new@example.net" in recipients(sink), 20, "new mail")
        box.console("queue retry all")
        accept(box, "later@example.net")
        wait_until(lambda: "later@example.net" in recipients(sink), 20, "later mail")
        equal("held@example.net" in recipients(sink), False, "held mail went out")
        box.console(f"queue release {held}")
        wait_until(lambda: "held@example.net" in recipients(sink), 20, "released mail")
        equal(recipients(sink), sorted(f"{n}@example.net" for n in ("held", "waiting", "new", "later")), "all that arrived, once")


@test
def a_retry_does_not_wait_for_the_schedule():
    sink = Sink()
    sink.answer = {b"RCPT TO:<busy@": "450 4.2.0 Busy"}
    with Sandbox("--next-hop", f"127.0.0.1:{sink.port}") as box:
        box.configure("set server default queue retry 1h")
        busy = accept(box, "busy@example.net")
        wait_until(lambda: attempts(box, "busy@example.net", "deferred") == 1, 20, "deferred")
        wait_until(lambda: "450 4.2.0 Busy" in box.console(f"show queue {busy}"), 20, "the reason is shown")
        box.console(f"queue retry {busy}")
        wait_until(lambda: attempts(box, "busy@example.net", "deferred") == 2, 20, "tried again at once")
        sink.answer = {}
        wait_until(lambda: "450 4.2.0 Busy" in box.console(f"show queue {busy}"), 20, "it waits again")
        box.console(f"queue retry {busy}")
        wait_until(lambda: recipients(sink) == ["busy@example.net"], 20, "it arrives")


class Sink6(Sink):
    def open(self):
        self.listener = socket.create_server(("::1", self.port), family=socket.AF_INET6)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, args=(self.listener,), daemon=True).start()


def has_ipv6():
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@test
def a_next_hop_may_be_an_ipv6_address():
    hop = Sink6() if has_ipv6() else Sink()
    with Sandbox("--next-hop", f"[::1]:{hop.port}") as box:
        accept(box, "six@example.net")
        if has_ipv6():
            hop.wait(1)
            contains(log_of(box), f"next_hop=[::1]:{hop.port} result=delivered")
        else:  # then the reason names the address
            wait_until(lambda: f"[::1]:{hop.port}: " in log_of(box), 20, "the reason is told")


if __name__ == "__main__":
    run()

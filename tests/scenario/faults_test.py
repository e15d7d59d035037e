#!/usr/bin/python3
"""Faults under load: killed processes, a next hop that is away, a PIN that is wrong. Nothing accepted is lost."""
import collections
import contextlib
import os
import re
import signal
import threading
import time

from inkan import Sandbox, Sink, Smtp, contains, crlf, equal, is_signed, now, run, send, test, verify, wait_until

SENDER = "alice@example.com"


def numbered(number):
    return crlf(f"From: {SENDER}\nTo: dave@example.net\nSubject: load\nDate: {now()}\nX-Number: {number}\n\nbody {number}\n".encode())


def number_of(octets):
    return int(re.search(rb"X-Number: (\d+)", octets).group(1))


class Load:
    """Sessions that send numbered messages until told to stop; keeps the numbers that were answered with 250."""

    def __init__(self, port, sessions=8):
        self.port, self.accepted, self.refused = port, [], collections.Counter()
        self.stop, self.lock, self.next = threading.Event(), threading.Lock(), 0
        self.threads = [threading.Thread(target=self.session, daemon=True) for _ in range(sessions)]
        for thread in self.threads:
            thread.start()

    def take(self):
        with self.lock:
            self.next += 1
            return self.next

    def session(self):
        while not self.stop.is_set():
            with contextlib.suppress(OSError, ConnectionError, ValueError), Smtp(self.port, timeout=30) as client:
                while not self.stop.is_set():
                    number = self.take()
                    code, reply = client.mail(SENDER, ["dave@example.net"], numbered(number))
                    with self.lock:
                        if code == 250:
                            self.accepted.append(number)
                        else:
                            self.refused[reply] += 1
                    if code == 421:
                        break
            time.sleep(0.02)

    def end(self):
        self.stop.set()
        for thread in self.threads:
            thread.join(timeout=40)
        return self.accepted


def check_all_arrived(sink, accepted, ca):
    """Every accepted message is there, signed; doubles are counted (SMTP allows them after a crash)."""
    def missing():
        seen = {number_of(m) for _, _, m in list(sink.messages)}
        return set(accepted) - seen

    wait_until(lambda: not missing(), 60, "all accepted messages at the next hop")
    unsigned = [m for _, _, m in sink.messages if not is_signed(m)]
    equal(len(unsigned), 0, "messages that arrived unsigned")
    doubles = len(sink.messages) - len({number_of(m) for _, _, m in sink.messages})
    print(f"   {len(accepted)} accepted, {len(sink.messages)} arrived, {doubles} twice")
    verify([m for _, _, m in sink.messages[:5] + sink.messages[-5:]], ca)


def under_load(program, kills):
    sink = Sink()
    with Sandbox("--next-hop", f"127.0.0.1:{sink.port}", "--sender", f"{SENDER}:rsa2048") as box:
        load = Load(box.port)
        for _ in range(kills):
            time.sleep(1.5)
            killed = box.kill(program)
            wait_until(lambda: box.processes(program) and not set(killed) & set(box.processes(program)), 2,
                       f"{program} back within 2 s")
        time.sleep(1.5)
        accepted = load.end()
        if len(accepted) < 20:
            raise AssertionError(f"only {len(accepted)} accepted; refused: {load.refused}")
        check_all_arrived(sink, accepted, box.env["CA_FILE"])


@test
def the_relay_is_killed_under_load():
    under_load("inkan-relay", 3)


@test
def the_workers_are_killed_under_load():
    under_load("inkan-hsm", 3)


@test
def one_dead_worker_of_two_refuses_nothing():
    sink = Sink()
    with Sandbox("--next-hop", f"127.0.0.1:{sink.port}", "--sender", f"{SENDER}:rsa2048", "--processes", "2") as box:
        wait_until(lambda: len(box.processes("inkan-hsm")) == 2, 10, "two workers")
        load = Load(box.port, 4)
        time.sleep(1)
        os.kill(box.processes("inkan-hsm")[0], signal.SIGKILL)
        time.sleep(2)
        accepted = load.end()
        equal(dict(load.refused), {}, "refusals")
        check_all_arrived(sink, accepted, box.env["CA_FILE"])


@test
def the_next_hop_is_down_then_up():
    sink = Sink()
    with Sandbox("--next-hop", f"127.0.0.1:{sink.port}", "--sender", f"{SENDER}:p256") as box:
        box.configure("set server default queue retry 1s")
        sink.close()
        for number in range(20):
            equal(send(box.port, SENDER, ["dave@example.net"], numbered(number))[0], 250)
        time.sleep(2)
        equal(len(sink.messages), 0)
        sink.open()
        check_all_arrived(sink, range(20), box.env["CA_FILE"])


@test
def a_restart_resumes_the_queue():
    sink = Sink()
    with Sandbox("--next-hop", f"127.0.0.1:{sink.port}", "--sender", f"{SENDER}:p256") as box:
        box.configure("set server default queue retry 1s")
        sink.close()
        for number in range(5):
            equal(send(box.port, SENDER, ["dave@example.net"], numbered(number))[0], 250)
        box.kill("inkan-relay")
        sink.open()
        check_all_arrived(sink, range(5), box.env["CA_FILE"])


@test
def an_upgrade_drops_no_session_in_data():
    """SIGUSR2: inkand executes itself anew. One client is in DATA longer than a stop would let it, one comes meanwhile."""
    with Sandbox("--sender", f"{SENDER}:p256") as box, Smtp(box.port) as slow, Smtp(box.port) as idle:
        for text in [f"MAIL FROM:<{SENDER}>", "RCPT TO:<dave@example.net>", "DATA"]:
            equal(slow.command(text)[0] < 400, True, text)
        before, replies = box.processes("inkan-relay"), []
        os.kill(int(box.env["SUPERVISOR_PID"]), signal.SIGUSR2)
        equal(idle.reply()[0], 421)
        other = threading.Thread(target=lambda: replies.append(send(box.port, SENDER, ["dave@example.net"], numbered(2))))
        other.start()
        for line in numbered(1).splitlines(keepends=True):
            slow.send(line)
            time.sleep(1.5)
        slow.send(b".\r\n")
        equal(slow.reply()[0], 250)
        slow.close()
        other.join(timeout=40)
        equal(replies[0][0], 250)
        contains(box.console("show hsm"), "held")  # the PIN that an operator had typed
        equal(set(before) & set(box.processes("inkan-relay")), set())
        equal(all(is_signed(message) for message in box.maildir(2)), True)


@test
def a_refused_recipient_is_bounced_and_a_deferred_one_kept():
    sink = Sink()
    with Sandbox("--next-hop", f"127.0.0.1:{sink.port}", "--sender", f"{SENDER}:p256") as box:
        sink.answer[b"RCPT TO:<gone@"] = "550 5.1.1 No such user"
        sink.answer[b"RCPT TO:<later@"] = "450 4.2.0 Later"
        box.configure("set server default queue retry 2s")
        equal(send(box.port, SENDER, ["gone@example.net", "later@example.net"], numbered(1))[0], 250)
        sender, recipients, bounce = sink.wait(1)[0]
        equal((sender, recipients), ("", [SENDER]), "the envelope of the bounce")
        for part in (b"multipart/report", b"Final-Recipient: rfc822;", b"gone@example.net", b"Status: 5.1.1", b"Action: failed"):
            contains(bounce, part)
        equal(len(sink.messages), 1, "messages at the sink")
        sink.answer.clear()
        equal(sink.wait(2)[1][1], ["later@example.net"], "the recipients of the retry")


@test
def what_stays_deferred_is_retried_and_bounced_at_the_end_of_the_lifetime():
    sink = Sink()
    with Sandbox("--next-hop", f"127.0.0.1:{sink.port}", "--sender", f"{SENDER}:p256") as box:
        box.configure("set server default queue lifetime 4s", "set server default queue retry 1s")
        sink.answer[b"RCPT TO:<full@"] = "450 4.2.2 Mailbox full"
        equal(send(box.port, SENDER, ["full@example.net"], numbered(1))[0], 250)
        sender, recipients, bounce = sink.wait(1, 15)[0]
        equal((sender, recipients), ("", [SENDER]), "the envelope of the bounce")
        for part in (b"Status: 4.4.7", b"4.2.2 Mailbox full", b"Action: failed"):
            contains(bounce, part)
        attempts = open(os.path.join(box.box, "inkand.log"), encoding="utf-8").read().count("result=deferred")
        equal(attempts >= 3, True, f"attempts before the bounce: {attempts}")


@test
def without_pin_signing_is_locked_and_plain_mail_flows():
    sink = Sink()
    with Sandbox("--next-hop", f"127.0.0.1:{sink.port}", "--sender", f"{SENDER}:p256") as box:
        box.console("hsm logout")
        code, reply = send(box.port, SENDER, ["dave@example.net"], numbered(1))
        equal(reply, "451 4.3.0 Signing is locked")
        equal(send(box.port, "nobody@example.com", ["dave@example.net"],
                   crlf(b"From: nobody@example.com\nX-Number: 2\n\nplain\n"))[0], 250)
        sink.wait(1)
        wrong = box.console("hsm login", stdin="000000\n", ok=False)
        contains(wrong.lower(), "pin")
        equal(send(box.port, SENDER, ["dave@example.net"], numbered(3))[1], "451 4.3.0 Signing is locked")
        time.sleep(3)
        contains(box.console("show hsm").lower(), "rejected")


if __name__ == "__main__":
    run()

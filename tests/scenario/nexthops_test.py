#!/usr/bin/python3
"""What next hops do to each other and to us: slow ones beside quick ones, dead ones, ones that are not to be trusted."""
import atexit
import concurrent.futures
import contextlib
import email
import os
import pathlib
import re
import shutil
import socket
import tempfile
import threading
import time

from inkan import Sandbox, Smtp, contains, crlf, equal, now, run, test, wait_until
from faulty_token import FaultyToken
from next_hop import Certificates, Dns, Hop

PASSWORD = "s3cret pass-phrase"
SLOW, QUICK = 2000, 100
BIG_BYTES = 40 << 20


def mail(to):
    return crlf(f"From: x@example.org\nTo: {to}\nSubject: test\nDate: {now()}\n\nhello\n".encode())


def accept(box, to, count=1, message=None):
    with Smtp(box.port) as client:
        for _ in range(count):
            code, reply = client.mail("x@example.org", [to], message or mail(to))
            equal(code, 250, reply)


def accept_many(box, to, count, sessions=8):
    with concurrent.futures.ThreadPoolExecutor(sessions) as pool:
        list(pool.map(lambda _: accept(box, to, count // sessions), range(sessions)))


def log_of(box):
    return "".join(path.read_text(errors="replace") for path in pathlib.Path(box.box).glob("*.log"))


def results(box, address):
    return [line for line in log_of(box).splitlines() if "delivery.result" in line and f"recipient={address}" in line]


class Tarpit(Hop):
    """Takes a mail a second on each connection."""

    def data(self, file):
        time.sleep(1)
        return Hop.data(file)


class Closing:
    """Accepts connections and closes them at once: a next hop that is broken. Notes when."""

    def __init__(self, host, port):
        self.listener, self.times = socket.create_server((host, port), backlog=200), []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            connection, _ = self.listener.accept()
            self.times.append(time.monotonic())
            connection.close()


@test
def a_slow_destination_holds_up_no_other_and_a_broken_one_is_not_hammered():
    slow = Tarpit(host="127.0.0.2")
    quick = Hop(host="127.0.0.3", port=slow.port)
    broken = Closing("127.0.0.4", slow.port)
    dns = Dns({(f"{name}.example", kind): data for name, data in (("slow", "127.0.0.2"), ("quick", "127.0.0.3"),
                                                                  ("broken", "127.0.0.4"))
               for kind, data in (("MX", [(10, f"{name}.example")]), ("A", [data]))})
    with Sandbox("--next-hop", "127.0.0.1:9") as box:
        box.configure("delete server default next-hop 127.0.0.1:9", f"set server default mx-port {slow.port}",
                      f"set system name-server 127.0.0.1:{dns.port}")
        began = time.monotonic()
        accept_many(box, "bob@broken.example", 400)
        accept_many(box, "bob@slow.example", SLOW)
        accepted = time.monotonic()
        accept(box, "bob@quick.example", QUICK)
        quick.wait(QUICK, 15)
        took = time.monotonic() - accepted
        equal(len(slow.messages) < SLOW, True, "the slow destination is not drained yet")
        print(f"  {QUICK} mails to a quick destination behind {SLOW} to a slow one: {took:.1f} s")
        time.sleep(max(0, began + 30 - time.monotonic()))
        tries = len(broken.times)
        print(f"  400 mails to a broken destination: {tries} connections in {time.monotonic() - began:.0f} s")
        # two to begin with, then a probe after 2, 4, 8, 16 s (with some spread)
        equal(1 <= tries <= 10, True, f"{tries} connections to the broken next hop")
        equal(dns.queries < 60, True, f"{dns.queries} DNS queries for three domains")


@test
def several_next_hops_with_a_dead_one_among_them():
    dead, good, spare = Closing("127.0.0.2", 0), Hop(), Hop()
    port = dead.listener.getsockname()[1]
    with Sandbox("--next-hop", "127.0.0.1:9") as box:
        box.configure("delete server default next-hop 127.0.0.1:9", f"set server default next-hop 127.0.0.2:{port}",
                      f"set server default next-hop 127.0.0.1:{good.port}",
                      f"set server default next-hop 127.0.0.1:{spare.port} priority 20")
        accept_many(box, "bob@example.net", 400)
        good.wait(400, 20)
        equal(len(spare.messages), 0, "a worse priority is not used")
        equal(len(dead.times) <= 8, True, f"{len(dead.times)} connections to the dead one")
        equal("result=deferred" in log_of(box), False, "no mail was put off")


@test
def the_reason_is_told_when_a_next_hop_cannot_be_trusted():
    directory = tempfile.mkdtemp(prefix="inkan-tls-", dir="/etc")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    os.chmod(directory, 0o755)
    made = Certificates(directory)
    bare, untrusted, login = Hop(), Hop(tls=made.context), Hop(tls=made.context, login=("relay", "another"))
    cases = ((bare, (), "4.7.4", "TLS is required, but the server does not offer STARTTLS"),
             (untrusted, (), "4.7.5", "the server's certificate is not trusted"),
             (login, (f"tls-ca-file {made.ca}", "tls-name mx.example.net", "user relay", "password"), "4.7.8",
              "the login of relay is refused: 535 5.7.8 Wrong password"))
    with Sandbox("--next-hop", "127.0.0.1:9") as box:
        last = "127.0.0.1:9"
        for number, (hop, words, status, text) in enumerate(cases):
            key, address = f"127.0.0.1:{hop.port}", f"bob{number}@example.net"
            box.console("configure", f"delete server default next-hop {last}", f"set server default next-hop {key}",
                        f"set server default next-hop {key} tls require",
                        *(f"set server default next-hop {key} {word}" for word in words), "commit",
                        stdin=f"{PASSWORD}\n{PASSWORD}\n")
            accept(box, address)
            wait_until(lambda: any(f"status={status}" in line for line in results(box, address)), 20, f"{status} in the log")
            line = results(box, address)[-1]
            contains(line, text)
            contains(line, "the next hop cannot be used securely")
            contains(box.console("show queue"), address)
            equal(len(hop.messages), 0, "nothing is sent")
            last = key


@test
def after_a_logout_the_passwords_are_forgotten():
    hop, token = Hop(login=("relay", PASSWORD)), FaultyToken()
    with contextlib.ExitStack() as after, token.sandbox("--next-hop", "127.0.0.1:9") as box:
        after.callback(token.remove)
        key = f"server default next-hop 127.0.0.1:{hop.port}"
        box.console("configure", "delete server default next-hop", f"set {key}", f"set {key} auth-without-tls",
                    f"set {key} user relay", f"set {key} password", "commit", stdin=f"{PASSWORD}\n{PASSWORD}\n")
        accept(box, "one@example.net")
        hop.wait(1, 40)
        box.console("hsm logout")
        accept(box, "two@example.net")
        wait_until(lambda: any("status=4.7.0" in line for line in results(box, "two@example.net")), 20, "mail waits")
        contains(results(box, "two@example.net")[-1], "the password of relay is locked")
        equal((hop.logins, len(hop.messages)), (1, 1), "logins, mails")
        box.console("hsm login", stdin=token.pin + "\n")
        hop.wait(2, 40)
        equal(hop.logins, 2, "logged in anew")


@test
def the_log_tells_where_the_time_went():
    with Sandbox("--next-hop", f"127.0.0.1:{Tarpit().port}") as box:
        accept(box, "bob@example.net")
        wait_until(lambda: results(box, "bob@example.net"), 20, "delivery")
        line = results(box, "bob@example.net")[0]
        waiting, queueing, setup, transmission = map(float, re.search(r"delays=([0-9./]+)", line)[1].split("/"))
        equal(waiting < 5 and queueing < 5 and setup < 5, True, line)
        equal(1 <= transmission < 10, True, line)
        contains(line, "status=2.0.0")


def peak_kib(pid):
    return int(re.search(r"VmHWM:\s*(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())[1])


@test
def a_large_mail_is_converted_in_little_memory():
    seven = Hop(offers=("PIPELINING",))
    text = ("Grüße, 印鑑, and some more text to make it a line\r\n").encode()
    body = text * (BIG_BYTES // len(text))
    message = crlf(f"From: x@example.org\nTo: bob@example.net\nSubject: large\nDate: {now()}\nMIME-Version: 1.0\n"
                   "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n".encode()) + body
    with Sandbox("--next-hop", f"127.0.0.1:{seven.port}") as box:
        relay = box.processes("inkan-relay")[0]
        accept(box, "small@example.net")
        seven.wait(1)
        before = peak_kib(relay)
        accept(box, "bob@example.net", message=message)
        seven.wait(2, 60)
        grown = peak_kib(relay) - before
        print(f"  {len(message) >> 20} MiB converted: the relay's peak grew by {grown} KiB")
        equal(grown < 8192, True, f"{grown} KiB more")
        got = email.message_from_bytes(seven.messages[1][2])
        equal(max(seven.messages[1][2]) < 128, True, "7-bit")
        equal(got.get_payload(decode=True) == body, True, "the text")


if __name__ == "__main__":
    run()

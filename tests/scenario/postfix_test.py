#!/usr/bin/python3
"""Signed mail through a Postfix whose next hop lacks 8BITMIME, which is where Postfix rewrites what is not 7-bit.

The corpus, the hard cases and mutations of both (8-bit text, long lines, dots, trailing blanks, NUL put into bodies, messages cut
short) are sent. Between Inkan and Postfix stands a witness that keeps what Inkan sent: the signed part must arrive octet for octet
behind Postfix, and each message that arrives signed must verify.
"""
import contextlib
import email.utils
import importlib.util
import os
import pathlib
import random
import re
import socket
import subprocess
import sys
import tempfile
import threading

from inkan import Sandbox, Sink, Smtp, crlf, equal, is_signed, run, shared, test, wait_until

SENDER = "alice@example.com"
CORPUS = shared() / "corpus"
MUTATIONS = [
    "caf\u00e9 au lait \u65e5\u672c\u8a9e\r\n".encode(),
    b"caf\xe9 au lait\r\n",
    b"\x93\xfa\x96{\x8c\xea\x83\\\x83|\r\n",
    b"a\0b\r\n",
    b"x" * 1500 + b"\r\n",
    b"abc --.From = " * 300 + b"\r\n",
    b"From here to there\r\n",
    b".\r\n..\r\n.dots\r\n",
    b"trailing blanks \t \r\n \r\n",
    None,  # cut short
]


def bench_peers():
    spec = importlib.util.spec_from_file_location("peers", shared() / "bench" / "peers.py")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(shared() / "bench"))
    spec.loader.exec_module(module)
    return module


def with_from(octets, name):
    octets = crlf(octets)
    head, separator, body = octets.partition(b"\r\n\r\n")
    head = re.sub(rb"(?im)^from[ \t]*:.*\r\n(?:[ \t].*\r\n)*", b"", head + b"\r\n")[:-2]
    date = b"" if re.search(rb"(?im)^date:", head) else b"Date: " + email.utils.formatdate().encode() + b"\r\n"
    return f"From: {SENDER}\r\nX-Corpus: {name}\r\n".encode() + date + head + separator + body


def mutated(octets, dice):
    body = octets.find(b"\r\n\r\n") + 4
    starts = [m.end() for m in re.finditer(rb"\r\n", octets) if m.end() >= body] or [len(octets)]
    at, mutation = dice.choice(starts), dice.choice(MUTATIONS)
    return octets[:at] + mutation + octets[at:] if mutation else octets[:at]


def messages():
    dice, found = random.Random(20261124), {}
    for path in sorted(CORPUS.rglob("*.eml")):
        name = str(path.relative_to(CORPUS))
        found[name] = with_from(path.read_bytes(), name)
        found[name + "#1"] = mutated(with_from(path.read_bytes(), name + "#1"), dice)
    return found


class Wire:
    """Passes connections on to a port, and keeps the messages that clients sent by DATA: {X-Corpus: octets}."""

    def __init__(self, port):
        self.onward, self.lock, self.sent = port, threading.Lock(), {}
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            threading.Thread(target=self.carry, args=(client,), daemon=True).start()

    def carry(self, client):
        with client, socket.create_connection(("127.0.0.1", self.onward)) as server:
            threading.Thread(target=self.copy, args=(server, client), daemon=True).start()
            self.keep(self.copy(client, server))

    @staticmethod
    def copy(source, target):
        seen = []
        with contextlib.suppress(OSError):
            while octets := source.recv(65536):
                seen.append(octets)
                target.sendall(octets)
            target.shutdown(socket.SHUT_WR)
        return b"".join(seen)

    def keep(self, octets):
        """Every DATA here is accepted: what follows it is a message."""
        at = 0
        while (end := octets.find(b"\r\n", at)) >= 0:
            command, at = octets[at:end], end + 2
            if command == b"DATA":
                end = octets.index(b"\r\n.\r\n", at) + 2
                message = re.sub(rb"(?m)^\.", b"", octets[at:end])
                with self.lock:
                    self.sent[corpus_name(message)] = message
                at = end + 3


def corpus_name(message):
    return re.search(rb"X-Corpus: (\S+)", message).group(1).decode()


def signed_part(message):
    """Between the first boundary lines of the outer multipart."""
    head, _, body = message.partition(b"\r\n\r\n")
    boundary = re.search(rb'(?is)\nContent-Type: multipart/signed;.*?boundary="([^"]+)"', b"\n" + head).group(1)
    return body.split(b"--" + boundary + b"\r\n")[1]


def verifies(message, directory):
    file = pathlib.Path(directory, "message")
    file.write_bytes(message)
    done = subprocess.run(["openssl", "cms", "-verify", "-noverify", "-in", file, "-out", os.devnull], capture_output=True,
                          check=False)
    return done.returncode == 0


@test
def what_is_signed_survives_a_seven_bit_hop():
    if os.geteuid() != 0:
        raise AssertionError("needs root: Postfix cannot be started")
    sink = Sink()
    sink.answer = {b"EHLO": "250-sink.example\r\n250 PIPELINING"}
    sent, replies = messages(), {}
    with tempfile.TemporaryDirectory(prefix="inkan-postfix-") as directory:
        os.chmod(directory, 0o755)
        postfix = bench_peers().Postfix(pathlib.Path(directory, "postfix"), sink.port)
        postfix.start()
        wire = Wire(postfix.port)
        try:
            with Sandbox("--next-hop", f"127.0.0.1:{wire.port}", "--sender", f"{SENDER}:p256") as box:
                with Smtp(box.port) as client:
                    for name, message in sent.items():
                        replies[name] = client.mail(SENDER, ["dave@example.net"], message)
                accepted = [name for name, (code, _) in replies.items() if code == 250]
                wait_until(lambda: len(sink.messages) >= len(accepted), 120, f"{len(accepted)} messages behind Postfix")
                wait_until(lambda: len(wire.sent) >= len(accepted), 60, "the connections to Postfix end")
        finally:
            postfix.stop()
        arrived = {corpus_name(m): m for _, _, m in sink.messages}
        equal(sorted(arrived), sorted(accepted), "messages that arrived")
        signed = {n: m for n, m in arrived.items() if is_signed(m.split(b"\r\n\r\n", 1)[0] + b"\r\n")}
        altered = sorted(n for n, m in signed.items() if signed_part(m) != signed_part(wire.sent[n]))
        equal(altered, [], "messages whose signed part is not what Inkan sent")
        broken = sorted(n for n, m in signed.items() if not verifies(m, directory))
        print(f"   {len(sent)} sent, {len(accepted)} accepted, {len(signed)} signed")
        equal(broken, [], "messages whose signed part did not survive")
        if len(signed) < 700:
            raise AssertionError(f"only {len(signed)} of {len(sent)} were signed")


if __name__ == "__main__":
    run()

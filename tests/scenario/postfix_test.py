#!/usr/bin/python3
"""Signed mail through a Postfix whose next hop lacks 8BITMIME, which is where Postfix rewrites what is not 7-bit.

The corpus, the hard cases and mutations of both (8-bit text, long lines, NUL put into bodies, messages cut short) are sent;
each that arrives signed must still verify, which is only so when the signed part arrived octet for octet.
"""
import email.utils
import importlib.util
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile

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


def verifies(message, directory):
    file = pathlib.Path(directory, "message")
    file.write_bytes(message)
    done = subprocess.run(["openssl", "cms", "-verify", "-noverify", "-in", file, "-out", os.devnull], capture_output=True,
                          check=False)
    return done.returncode == 0


@test
def what_is_signed_survives_a_seven_bit_hop():
    if os.geteuid() != 0:
        print("   not as root: Postfix cannot be started, nothing was tried")
        return
    sink = Sink()
    sink.answer = {b"EHLO": "250-sink.example\r\n250 PIPELINING"}
    sent, replies = messages(), {}
    with tempfile.TemporaryDirectory(prefix="inkan-postfix-") as directory:
        os.chmod(directory, 0o755)
        postfix = bench_peers().Postfix(pathlib.Path(directory, "postfix"), sink.port)
        postfix.start()
        try:
            with Sandbox("--next-hop", f"127.0.0.1:{postfix.port}", "--sender", f"{SENDER}:p256") as box:
                with Smtp(box.port) as client:
                    for name, message in sent.items():
                        replies[name] = client.mail(SENDER, ["dave@example.net"], message)
                accepted = [name for name, (code, _) in replies.items() if code == 250]
                wait_until(lambda: len(sink.messages) >= len(accepted), 120, f"{len(accepted)} messages behind Postfix")
        finally:
            postfix.stop()
        arrived = {re.search(rb"X-Corpus: (\S+)", m).group(1).decode(): m for _, _, m in sink.messages}
        equal(sorted(arrived), sorted(accepted), "messages that arrived")
        signed = {n: m for n, m in arrived.items() if is_signed(m.split(b"\r\n\r\n", 1)[0] + b"\r\n")}
        broken = sorted(n for n, m in signed.items() if not verifies(m, directory))
        print(f"   {len(sent)} sent, {len(accepted)} accepted, {len(signed)} signed")
        equal(broken, [], "messages whose signed part did not survive")
        if len(signed) < 700:
            raise AssertionError(f"only {len(signed)} of {len(sent)} were signed")


if __name__ == "__main__":
    run()

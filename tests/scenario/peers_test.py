#!/usr/bin/python3
"""Through a real Postfix: what Inkan signed arrives byte for byte, although the hop behind it takes 7-bit mail alone."""
import os
import pathlib
import re
import shutil
import socket
import subprocess
import tempfile

from inkan import Sandbox, Smtp, contains, crlf, equal, now, run, send, stuffed, test, verify, wait_until
from next_hop import Hop

SENDER = "alice@example.com"
PROGRAMS = "/usr/lib/postfix/sbin"


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class Postfix:
    """A private instance that relays everything to one hop, and never the system's."""

    def __init__(self, hop, **settings):
        if os.geteuid() != 0 or not os.access(f"{PROGRAMS}/master", os.X_OK):
            raise AssertionError("needs root and Postfix: image/install-packages test")
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="inkan-postfix-"))
        os.chmod(self.directory, 0o755)
        etc, self.spool, data = (self.directory / name for name in ("etc", "spool", "data"))
        for path in (etc, self.spool, data):
            path.mkdir()
        shutil.chown(data, "postfix")
        shutil.copy("/etc/postfix/master.cf", etc)
        self.port = free_port()
        text = (etc / "master.cf").read_text()
        text = re.sub(r"^smtp +inet.*$", f"127.0.0.1:{self.port} inet n - n - - smtpd", text, flags=re.M)
        (etc / "master.cf").write_text(re.sub(r"^(\S+\s+\S+\s+\S+\s+\S+\s+)y", r"\1n", text, flags=re.M))
        main = {"compatibility_level": "3.6", "queue_directory": self.spool, "data_directory": data, "mydestination": "",
                "command_directory": "/usr/sbin", "daemon_directory": PROGRAMS, "mail_owner": "postfix",
                "setgid_group": "postdrop", "myhostname": "postfix.example", "mynetworks": "127.0.0.0/8",
                "relayhost": f"[127.0.0.1]:{hop.port}", "inet_interfaces": "127.0.0.1", "inet_protocols": "ipv4",
                "maillog_file": self.directory / "log", "maillog_file_prefixes": self.directory, "local_transport": "error:none",
                "smtputf8_enable": "yes", "alias_maps": "", "alias_database": "", **settings}
        (etc / "main.cf").write_text("".join(f"{name} = {value}\n" for name, value in main.items()))
        self.etc = etc
        self.command("start")
        wait_until(self.greets, 20, "Postfix greets")

    def greets(self):
        try:
            with Smtp(self.port):
                return True
        except OSError:
            return False

    def command(self, word):
        done = subprocess.run(["postfix", "-c", str(self.etc), word], capture_output=True, text=True, timeout=60)
        if done.returncode != 0:
            raise AssertionError(f"postfix {word}: {done.stdout}{done.stderr}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.command("stop")
        shutil.rmtree(self.directory, ignore_errors=True)


def messages():
    head = f"From: {SENDER}\nTo: bob@example.net\nDate: {now()}\nMIME-Version: 1.0\n".encode()
    text = "Grüße, 印鑑\n".encode()
    yield head + b"Subject: plain ascii\n\nFrom here on\n.dots\n..\n"
    yield head + b"Subject: eight bit\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n" + text * 40
    yield head + b"Subject: long lines\nContent-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n" + b"x" * 3000 + text
    yield (head + b"Subject: parts\nContent-Type: multipart/mixed; boundary=b\n\npreamble " + text + b"--b\n" +
           b"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n" + text * 3 + b"  trailing blanks  \n--b\n" +
           b"Content-Type: application/octet-stream\nContent-Transfer-Encoding: base64\n\n" + b"AAAA" * 19 + b"\n--b--\nepilogue\n")


@test
def the_signed_part_arrives_byte_for_byte_through_a_postfix_that_must_convert():
    seven = Hop(offers=("PIPELINING", "SIZE"))  # without 8BITMIME: Postfix converts what is not 7-bit
    with Postfix(seven) as postfix, \
            Sandbox("--sender", SENDER, "--next-hop", f"127.0.0.1:{postfix.port}") as box:
        for number, message in enumerate(messages(), 1):
            code, reply = send(box.port, SENDER, ["bob@example.net"], crlf(message))
            equal(code, 250, reply)
            seven.wait(number, 40)
        verify([octets for _, _, octets in seven.messages], box.env["CA_FILE"])
        log = "".join(path.read_text() for path in pathlib.Path(box.box).glob("*.log"))
        contains(log, f"next_hop=127.0.0.1:{postfix.port} result=delivered status=2.0.0")


@test
def postfix_takes_over_the_duty_to_notify():
    hop = Hop(offers=("PIPELINING", "8BITMIME"))
    with Postfix(hop) as postfix, Sandbox("--next-hop", f"127.0.0.1:{postfix.port}") as box:
        with Smtp(box.port) as client:
            equal(client.command("MAIL FROM:<x@example.org> RET=HDRS ENVID=id42")[0], 250)
            equal(client.command("RCPT TO:<bob@example.net> NOTIFY=SUCCESS ORCPT=rfc822;robert@example.net")[0], 250)
            equal(client.command("DATA")[0], 354)
            client.send(stuffed(crlf(f"From: x@example.org\nSubject: dsn\nDate: {now()}\n\nhello\n".encode())))
            equal(client.reply()[0], 250)
        hop.wait(2, 40)
        notice = next(octets for sender, _, octets in hop.messages if sender == "")
        contains(notice, b"Reporting-MTA: dns; postfix.example")
        contains(notice, b"Original-Envelope-Id: id42")
        contains(notice, b"Original-Recipient: rfc822;robert@example.net")
        contains(notice, b"Action: relayed")


if __name__ == "__main__":
    run()

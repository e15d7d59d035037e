#!/usr/bin/python3
"""Other mail programs as clients and as next hops: what they send arrives signed, valid and with all that was in it.

Chains of three servers: Exim (which sends by BDAT over TLS) to Inkan to OpenSMTPD to a sink, and OpenSMTPD to Inkan to Exim
(which demands TLS and a login) to a sink; then swaks, curl and smtplib. Postfix has tests of its own. OpenSMTPD takes mail in
the clear here: as Debian 12 builds it, it fails every handshake ("SSL routines::EVP lib").
"""
import contextlib
import email
import email.policy
import os
import pathlib
import shutil
import smtplib
import subprocess
import tempfile
from email.message import EmailMessage

from inkan import Sandbox, Sink, compare, contains, crlf, equal, is_signed, now, run, send, test, verify, wait_until
from mta import Exim, OpenSmtpd
from next_hop import Certificates

SENDER = "alice@example.com"
SIGNED = ["bob@example.net", "carol@example.org"]
PLAIN = ["dave@docomo.ne.jp"]  # excluded by default
PASSWORD = "correct horse battery"


def with_attachment():
    message = EmailMessage()
    message["From"], message["To"], message["Date"], message["Subject"] = SENDER, SIGNED[0], now(), "attachment"
    message["Message-ID"] = "<2@client.example>"
    message.set_content("Grüße, 印鑑\n" * 30, cte="8bit")
    message.add_alternative("<p>Grüße, 印鑑</p>\n", subtype="html", cte="quoted-printable")
    message.add_attachment(bytes(range(256)) * 1200, maintype="application", subtype="octet-stream", filename="数.bin")
    return message.as_bytes(policy=email.policy.SMTP)


def messages():
    head = f"From: {SENDER}\nTo: bob@example.net\nDate: {now()}\nMessage-ID: <1@client.example>\nMIME-Version: 1.0\n".encode()
    eight = b"Content-Type: text/%s; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n"
    text = "Grüße, 印鑑\n".encode()
    yield "ascii", head + b"Subject: ascii\n\nFrom here on\n.dots\n..\n\ntrailing  \n"
    yield "eight bit", head + b"Subject: eight bit\n" + eight % b"plain" + text * 40
    yield "long lines", head + b"Subject: long lines\n" + eight % b"html" + b"x" * 3000 + text
    yield "japanese", (head + b"Subject: =?iso-2022-jp?B?GyRCMHU0VRsoQg==?=\nContent-Type: text/plain; charset=iso-2022-jp\n\n" +
                       "印鑑\n".encode("iso-2022-jp"))
    yield "attachment", with_attachment()


MESSAGES = [(name, crlf(octets)) for name, octets in messages()]


def subject_of(octets):
    return str(email.message_from_bytes(octets, policy=email.policy.default)["Subject"])


def check_arrivals(sink, box, seconds=60):
    """All messages, each with a signed rendering for SIGNED and a plain one for PLAIN, whole and valid."""
    def recipients(signed):
        return sorted((subject_of(octets), one) for _, to, octets in list(sink.messages)
                      if is_signed(octets) == signed for one in to)

    subjects = [subject_of(octets) for _, octets in MESSAGES]
    wait_until(lambda: sum(len(to) for _, to, _ in list(sink.messages)) >= len(MESSAGES) * 3, seconds,
               f"{len(MESSAGES)} messages for three recipients at the sink")
    equal(recipients(True), sorted((s, one) for s in subjects for one in SIGNED), "signed")
    equal(recipients(False), sorted((s, one) for s in subjects for one in PLAIN), "plain")
    signed = [octets for _, _, octets in sink.messages if is_signed(octets)]
    verify(signed, box.env["CA_FILE"])
    originals = {subject_of(octets): octets for _, octets in MESSAGES}
    for octets in signed:
        equal(compare(originals[subject_of(octets)], octets), "", f"content of {subject_of(octets)}")


def submit(port):
    for name, octets in MESSAGES:
        code, reply = send(port, SENDER, SIGNED + PLAIN, octets)
        equal(code, 250, f"{name}: {reply}")


@contextlib.contextmanager
def certificates():
    """A CA and a server certificate where the relay, which is not root, may read them."""
    directory = tempfile.mkdtemp(prefix="inkan-tls-", dir="/etc")
    os.chmod(directory, 0o755)
    try:
        yield Certificates(directory)
    finally:
        shutil.rmtree(directory)


class EximHop(Exim):
    """Takes mail over STARTTLS of those who log in."""

    def configure(self):
        directory = pathlib.Path(self.settings["made"].ca).parent
        for name in ("server.pem", "server.key"):
            self.write(f"etc/{name}", (directory / name).read_text(), owner=self.users["Debian-exim"], mode=0o600)
        self.settings |= {"main": "tls_advertise_hosts = *\ntls_certificate = /etc/server.pem\ntls_privatekey = /etc/server.key\n",
                          "password": PASSWORD}
        super().configure()


@test
def exim_sends_and_opensmtpd_takes():
    sink = Sink()
    with OpenSmtpd(sink.port) as hop, Sandbox("--sender", SENDER, "--next-hop", f"127.0.0.1:{hop.port}") as box, \
            Exim(box.port, transport="hosts_require_tls = *") as client:
        submit(client.port)
        check_arrivals(sink, box)
        lines = [line for line in client.log().splitlines() if " => " in line or " -> " in line]
        equal(len(lines), len(MESSAGES) * 3, "deliveries of Exim")
        for line in lines:
            contains(line, " X=TLS")
            contains(line, " K ")  # CHUNKING was used
            contains(line, " L ")  # and PIPELINING


@test
def opensmtpd_sends_and_exim_takes_after_a_login():
    sink = Sink()
    with certificates() as made, EximHop(sink.port, made=made) as hop, \
            Sandbox("--sender", SENDER, "--next-hop", "127.0.0.1:9") as box, \
            OpenSmtpd(box.port) as client:
        key = f"server default next-hop 127.0.0.1:{hop.port}"
        box.configure("delete server default next-hop", f"set {key} tls require", f"set {key} tls-name mx.example.net",
                      f"set {key} tls-ca-file {made.ca}", f"set {key} user relay", f"set {key} password", PASSWORD, PASSWORD)
        submit(client.port)
        check_arrivals(sink, box)
        contains(client.log(), "mta tls ")
        taken = [line for line in hop.log().splitlines() if " <= " in line]
        equal(len(taken), len(MESSAGES) * 2, "transactions with Exim: one for each rendering")
        for line in taken:
            contains(line, " X=TLS")
            contains(line, " A=plain:relay")
            contains(line, " P=esmtpsa L. ")  # with PIPELINING


def command(words, octets):
    done = subprocess.run(words, input=octets, capture_output=True, timeout=60)
    equal(done.returncode, 0, f"{words[0]}: {done.stdout}{done.stderr}")


def by_swaks(box, octets, directory):
    file = pathlib.Path(directory, "mail")
    file.write_bytes(octets.replace(b"\r\n", b"\n").removesuffix(b"\n"))  # swaks adds one
    command(["swaks", "--server", f"localhost:{box.port}", "-tls", "--tls-verify", "--tls-ca-path", box.env["CA_FILE"], "--from", SENDER,
             "--to", ",".join(SIGNED + PLAIN), "--data", f"@{file}", "--suppress-data"], b"")


def by_curl(box, octets, _):
    command(["curl", "-sS", "--ssl-reqd", "--cacert", box.env["CA_FILE"], f"smtp://localhost:{box.port}", "--mail-from", SENDER,
             *(word for one in SIGNED + PLAIN for word in ("--mail-rcpt", one)), "-T", "-"], octets)


def by_smtplib(box, octets, _):
    with smtplib.SMTP("localhost", box.port, timeout=30) as client:
        client.starttls(context=box.tls())
        equal(client.sendmail(SENDER, SIGNED + PLAIN, octets, ["BODY=8BITMIME"]), {})


@test
def swaks_curl_and_smtplib_send_all_kinds_of_mail():
    sink = Sink()
    with Sandbox("--sender", SENDER, "--next-hop", f"127.0.0.1:{sink.port}") as box, \
            tempfile.TemporaryDirectory(prefix="inkan-clients-") as directory:
        for way in (by_swaks, by_curl, by_smtplib):
            for _, octets in MESSAGES:
                way(box, octets, directory)
            check_arrivals(sink, box)
            sink.messages.clear()


if __name__ == "__main__":
    run()

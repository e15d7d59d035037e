#!/usr/bin/python3
"""Delivery to next hops as they are in the world: TLS, AUTH with a sealed password, mail exchangers."""
import atexit
import contextlib
import email
import os
import pathlib
import re
import shutil
import tempfile
import time

from inkan import Sandbox, Smtp, contains, crlf, equal, now, run, send, stuffed, test, verify, wait_until
from faulty_token import FaultyToken
from next_hop import Certificates, Dns, Hop

SENDER = "alice@example.com"
PASSWORD = "s3cret pass-phrase"


def mail(text="hello", to="bob@example.net"):
    return crlf(f"From: x@example.org\nTo: {to}\nSubject: test\nDate: {now()}\n\n{text}\n".encode())


def accept(box, recipients, message=None):
    code, reply = send(box.port, "x@example.org", recipients, message or mail())
    equal(code, 250, reply)


def certificates():
    directory = tempfile.mkdtemp(prefix="inkan-tls-", dir="/etc")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    os.chmod(directory, 0o755)
    return Certificates(directory)


def log_of(box):
    return "".join(path.read_text(errors="replace") for path in pathlib.Path(box.box).glob("*.log"))


@test
def tls_is_verified_pinned_or_opportunistic():
    made = certificates()
    with Sandbox("--next-hop", "127.0.0.1:9") as box:
        hop = Hop(tls=made.context)
        key = f"server default next-hop 127.0.0.1:{hop.port}"
        box.configure("delete server default next-hop 127.0.0.1:9", f"set {key}")
        accept(box, ["may@example.net"])
        hop.wait(1)
        equal(hop.encrypted, 1, "opportunistic TLS")
        box.configure(f"set {key} tls require")
        accept(box, ["untrusted@example.net"])
        wait_until(lambda: "certificate is not trusted" in log_of(box), 20, "the certificate is refused")
        box.configure(f"set {key} tls-ca-file {made.ca}")
        wait_until(lambda: "IP address mismatch" in log_of(box), 20, "the name is checked")
        box.configure(f"set {key} tls-name mx.example.net")
        hop.wait(2)
        box.configure(f"delete {key} tls-ca-file", f"set {key} tls-pin sha256:{'0' * 64}")
        accept(box, ["unpinned@example.net"])
        wait_until(lambda: "not the pinned one" in log_of(box), 20, "another pin is refused")
        box.configure(f"set {key} tls-pin {made.pin}")
        hop.wait(3)
        equal(hop.encrypted, 3, "messages over TLS")


@test
def tls_that_fails_falls_back_only_where_it_may():
    made = certificates()
    broken = Hop(tls=made.context, break_tls=True)
    plain = Hop()
    with Sandbox("--next-hop", f"127.0.0.1:{broken.port}") as box:
        accept(box, ["may@example.net"])
        broken.wait(1)
        equal(broken.encrypted, 0, "in plain")
        box.configure(f"delete server default next-hop 127.0.0.1:{broken.port}",
                      f"set server default next-hop 127.0.0.1:{plain.port} tls require")
        accept(box, ["require@example.net"])
        wait_until(lambda: "does not offer STARTTLS" in log_of(box), 20, "TLS is required")
        equal(len(plain.messages), 0, "messages in plain")


@test
def a_sealed_password_logs_in_and_lies_nowhere_in_clear():
    made = certificates()
    hop = Hop(tls=made.context, implicit=True, login=("relay", PASSWORD))
    login = Hop(tls=made.context, login=("relay", PASSWORD), mechanisms="LOGIN")
    with Sandbox("--next-hop", "127.0.0.1:9") as box:
        for one, tls in ((hop, "implicit"), (login, "require")):
            key = f"server default next-hop 127.0.0.1:{one.port}"
            box.configure("delete server default next-hop", f"set {key}", f"set {key} tls {tls}", f"set {key} tls-pin {made.pin}",
                          f"set {key} user relay", f"set {key} password", PASSWORD, PASSWORD)
            accept(box, ["bob@example.net"])
            one.wait(1)
            equal((one.logins, one.encrypted), (1, 1), f"logged in, {tls}")
        box.kill("inkan-relay")
        wait_until(lambda: box.processes("inkan-relay"), 20, "the relay again")
        time.sleep(1)
        wait_until(lambda: try_accept(box), 20, "mail is accepted again")
        login.wait(2, 40)
        contains(box.console("show configuration"), "password <hidden>")
        for path in pathlib.Path(box.box).rglob("*"):
            if path.is_file():
                equal(PASSWORD.encode() in path.read_bytes(), False, f"the password in {path}")
        shown = box.configure(f"delete {key} tls", ok=False)
        contains(shown, "needs tls require or implicit, or auth-without-tls")


def try_accept(box):
    try:
        accept(box, ["again@example.net"])
        return True
    except (OSError, AssertionError):
        return False


@test
def mail_waits_while_the_password_is_locked():
    hop, token = Hop(login=("relay", PASSWORD)), FaultyToken()
    with contextlib.ExitStack() as after, token.sandbox("--next-hop", "127.0.0.1:9") as box:
        after.callback(token.remove)
        key = f"server default next-hop 127.0.0.1:{hop.port}"
        box.console("configure", "delete server default next-hop", f"set {key}", f"set {key} auth-without-tls",
                    f"set {key} user relay", f"set {key} password", stdin=f"{PASSWORD}\n{PASSWORD}\n")
        box.console("hsm logout")
        box.console("configure", "commit")
        accept(box, ["bob@example.net"])
        wait_until(lambda: "the password of relay is locked" in log_of(box), 20, "mail waits for the PIN")
        equal(hop.connections, 0, "connections to the next hop")
        box.console("hsm login", stdin=token.pin + "\n")
        hop.wait(1, 40)
        equal(hop.logins, 1, "logged in")


@test
def mail_goes_to_the_exchangers_of_its_domain():
    best = Hop(host="127.0.0.2", offers=("PIPELINING", "8BITMIME", "SMTPUTF8"))
    second = Hop(host="127.0.0.3", port=best.port)
    dns = Dns({
        ("two.example", "MX"): [(20, "mx2.two.example"), (10, "mx1.two.example")],
        ("mx1.two.example", "A"): ["127.0.0.2"],
        ("mx2.two.example", "A"): ["127.0.0.3"],
        ("implicit.example", "A"): ["127.0.0.3"],
        ("alias.example", "CNAME"): ["two.example"],
        ("none.example", "MX"): [(0, ".")],
        ("loop.example", "MX"): [(10, "relay.example.jp"), (20, "mx1.two.example")],
        ("backup.example", "MX"): [(10, "mx1.two.example"), (20, "relay.example.jp")],
        ("xn--wlru32m.example", "MX"): [(10, "mx1.two.example")],
    })
    with Sandbox("--next-hop", "127.0.0.1:9") as box:
        box.configure("delete server default next-hop", f"set server default mx-port {best.port}",
                      f"set system name-server 127.0.0.1:{dns.port}", "set system host-name relay.example.jp")
        accept(box, ["a@two.example", "b@implicit.example", "c@alias.example", "d@two.example", "e@backup.example",
                     "f@[127.0.0.3]"])
        wait_until(lambda: sum(len(r) for _, r, _ in best.messages + second.messages) >= 6, 20, "six recipients")
        at = {address: hop.host for hop in (best, second) for _, recipients, _ in hop.messages for address in recipients}
        equal(at, {"a@two.example": "127.0.0.2", "b@implicit.example": "127.0.0.3", "c@alias.example": "127.0.0.2",
                   "d@two.example": "127.0.0.2", "e@backup.example": "127.0.0.2", "f@[127.0.0.3]": "127.0.0.3"}, "where")
        together = [r for _, r, _ in best.messages if "a@two.example" in r]
        equal(sorted(together[0]), ["a@two.example", "d@two.example"], "one transaction for a domain")
        with Smtp(box.port) as client:
            for command in ("MAIL FROM:<x@example.org> SMTPUTF8", "RCPT TO:<h@\u5370\u9451.example>", "DATA"):
                equal(client.command(command)[0] < 400, True, command)
            client.send(stuffed(mail()))
            equal(client.reply()[0], 250)
        wait_until(lambda: any("h@\u5370\u9451.example" in r for _, r, _ in best.messages), 30, "the internationalised domain")
        best.close()
        time.sleep(6)  # its idle connections go
        accept(box, ["g@two.example"])
        wait_until(lambda: any("g@two.example" in r for _, r, _ in second.messages), 20, "the second exchanger")


@test
def domains_that_take_no_mail_bounce_with_the_reason():
    sink = Hop(host="127.0.0.2")
    dns = Dns({
        ("example.org", "MX"): [(10, "mx.example.org")],
        ("mx.example.org", "A"): ["127.0.0.2"],
        ("none.example", "MX"): [(0, ".")],
        ("loop.example", "MX"): [(10, "relay.example.jp"), (20, "mx.example.org")],
        ("nowhere.example", "MX"): [(10, "gone.example")],
    })
    with Sandbox("--next-hop", "127.0.0.1:9") as box:
        box.configure("delete server default next-hop", f"set server default mx-port {sink.port}",
                      f"set system name-server 127.0.0.1:{dns.port}", "set system host-name relay.example.jp")
        for domain, status in (("none.example", "5.1.10"), ("absent.example", "5.1.2"), ("loop.example", "5.4.6"),
                               ("nowhere.example", "5.4.4")):
            count = len(sink.messages)
            accept(box, [f"bob@{domain}"])
            sink.wait(count + 1, 30)
            sender, recipients, notice = sink.messages[-1]
            equal((sender, recipients), ("", ["x@example.org"]), "bounced to the sender")
            contains(notice, f"Status: {status}\r\n".encode())
        dns.silent = True
        accept(box, ["bob@silent.example"])
        wait_until(lambda: "name servers do not answer" in log_of(box), 60, "deferred for want of DNS")
        dns.silent = False
        equal(len(sink.messages), 4, "no bounce for a name server that is away")


@test
def eight_bit_mail_is_converted_or_bounced_and_signed_mail_arrives_byte_for_byte():
    text = ("Grüße, 印鑑\n" * 20).encode()
    head = f"To: bob@example.net\nSubject: eight\nDate: {now()}\nMIME-Version: 1.0\n".encode()
    plain = crlf(b"From: x@example.org\n" + head + b"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n" +
                 text)
    presigned = crlf(b"From: x@example.org\n" + head + b"Content-Type: multipart/signed; protocol=\"application/pkcs7-signature\";"
                     b" micalg=sha-256; boundary=b\n\n--b\nContent-Type: text/plain; charset=utf-8\n"
                     b"Content-Transfer-Encoding: 8bit\n\n" + text +
                     b"\n--b\nContent-Type: application/pkcs7-signature; name=smime.p7s\n"
                     b"Content-Transfer-Encoding: base64\n\nMAAA\n--b--\n")
    seven = Hop(offers=("PIPELINING", "SIZE 50000000"))
    with Sandbox("--sender", SENDER, "--next-hop", f"127.0.0.1:{seven.port}") as box:
        accept(box, ["bob@example.net"], plain)
        seven.wait(1)
        got = email.message_from_bytes(seven.messages[0][2])
        equal(max(seven.messages[0][2]) < 128, True, "7-bit")
        equal(got.get_payload(decode=True).replace(b"\r\n", b"\n"), text, "the text")
        size = int(re.search(r"SIZE=(\d+)", " ".join(seven.commands)).group(1))
        equal(size, len(seven.messages[0][2]), "SIZE is that of the converted message")
        accept(box, ["bob@example.net"], presigned)
        seven.wait(2)
        contains(seven.messages[1][2], b"Status: 5.6.3\r\n")
        contains(seven.messages[1][2], b"its signature would break")
        code, reply = send(box.port, SENDER, ["bob@example.net"], crlf(b"From: " + SENDER.encode() + b"\n" + head +
                           b"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n" + text))
        equal(code, 250, reply)
        seven.wait(3)
        equal(max(seven.messages[2][2]) < 128, True, "the signed one is 7-bit")
        verify([seven.messages[2][2]], box.env["CA_FILE"])


if __name__ == "__main__":
    run()

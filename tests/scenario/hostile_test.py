#!/usr/bin/python3
"""Mail as an attacker or a clumsy client writes it, by raw sockets through a running appliance: what is signed, and what is said."""
import base64
import re

from inkan import Sandbox, Smtp, contains, equal, is_signed, run, test

SENDER = b"alice@example.com"
OTHER = b"bob@example.com"
BOX = Sandbox("--sender", SENDER.decode(), "--sender", OTHER.decode() + ":p256")
PLAIN_END = b"\r\n.\r\n"

# What a reader may be shown as the sender -> "signed", "plain", or the refusal (smime.md §8; inkan-relay(8), The From field).
FROM_FIELDS = {
    b"From: " + SENDER: "signed",
    b"FROM: Alice <" + SENDER + b"> (of sales)": "signed",
    b"From: ALICE@Example.COM": "signed",
    b'From: "alice"@example.com': "signed",
    b"Sender: eve@evil.example\r\nFrom: " + SENDER: "signed",
    b"From: " + SENDER + b"\r\nFrom: eve@evil.example": "550 5.7.1",
    b"From : eve@evil.example\r\nFrom: " + SENDER: "550 5.7.1",
    b"From: Staff: " + SENDER + b";": "plain",
    b"From: " + SENDER + b", eve@evil.example": "plain",
    b"From: =?utf-8?q?alice=40example=2Ecom?= <eve@evil.example>": "plain",
    b"From: alice(@evil.example)@example.com": "plain",
    b"From: <@a.example,@b.example:" + SENDER + b">": "plain",
    b"From: <" + SENDER + b"><eve@evil.example>": "plain",
    b"Resent-From: " + SENDER + b"\r\nFrom: eve@evil.example": "plain",
    b"Subject: none": "plain",
}

# Octets behind a header -> the reply with `bare-line-ends reject`, and the text that is delivered with `normalise`.
LINE_ENDS = {
    b"a\nb": ("Bare <LF>", b"a\nb\n"),
    b"a\rb": ("Bare <CR>", b"a b\n"),
    b"a\n.\r\nMAIL FROM:<eve@evil.example>": ("Bare <LF>", b"a\n.\nMAIL FROM:<eve@evil.example>\n"),
    b"a\r\n.\nMAIL FROM:<eve@evil.example>": ("Bare <LF>", None),
    b"a\n.\nQUIT": ("Bare <LF>", b"a\n.\nQUIT\n"),
}


def given(octets, recipient="bob@example.net"):
    """One mail as it is, with nothing stuffed; -> the last reply."""
    with Smtp(BOX.port) as client:
        for command in (f"MAIL FROM:<{SENDER.decode()}>", f"RCPT TO:<{recipient}>", "DATA"):
            client.command(command)
        client.send(octets)
        code, text = client.reply()
        equal(client.command("NOOP")[0], 250, "the session goes on as it was")
        return code, text


def arrived(octets, **options):
    BOX.empty_maildir()
    code, text = given(octets, **options)
    equal(code, 250, text)
    return BOX.maildir(1)[0]


@test
def the_from_field_is_read_as_the_manual_says():
    for field, want in FROM_FIELDS.items():
        octets = field + b"\r\nSubject: From\r\n\r\nHello" + PLAIN_END
        if want in ("signed", "plain"):
            equal(is_signed(arrived(octets)), want == "signed", field)
        else:
            contains(given(octets)[1], want)


@test
def who_logs_in_signs_with_the_certificates_that_are_his():
    user, key = BOX.env["API_USER"], BOX.env["API_KEY"]
    BOX.configure(f"set server default user {user} certificate {OTHER.decode()}")
    try:
        for sender, want in ((OTHER, 250), (SENDER, 550)):
            with Smtp(BOX.port) as client:
                client.command("STARTTLS")
                client.socket = BOX.tls().wrap_socket(client.socket, server_hostname="localhost")
                client.file = client.socket.makefile("rb")
                client.command("EHLO client.example")
                login = base64.b64encode(f"\0{user}\0{key}".encode()).decode()
                equal(client.command("AUTH PLAIN " + login)[0], 235)
                code, text = client.mail(OTHER.decode(), ["bob@example.net"], b"From: " + sender + b"\r\n\r\nHello\r\n")
                equal(code, want, f"{sender}: {text}")
                if want == 550:
                    contains(text, f"5.7.1 User {user} may not send as {sender.decode()}")
        equal(given(b"From: " + SENDER + b"\r\n\r\nHello" + PLAIN_END)[0], 250)  # who did not log in is in the network
    finally:
        BOX.configure(f"delete server default user {user} certificate {OTHER.decode()}")


@test
def no_line_end_but_crlf_is_taken_or_ends_a_message():
    for body, (reply, _) in LINE_ENDS.items():
        code, text = given(b"From: x@example.net\r\n\r\n" + body + PLAIN_END)
        equal(code, 554, text)
        contains(text, reply)


@test
def mended_line_ends_end_no_message_either():
    BOX.configure("set server default smtp bare-line-ends normalise")
    try:
        for body, (_, text) in LINE_ENDS.items():
            delivered = arrived(b"From: x@example.net\r\n\r\n" + body + PLAIN_END)
            if text is not None:
                equal(delivered.split(b"\n\n", 1)[1], text, body)
            equal(len(BOX.maildir()), 1, f"mails out of {body!r}")
    finally:
        BOX.configure("delete server default smtp bare-line-ends")


@test
def who_guesses_commands_is_slowed_down_and_sent_away():
    BOX.configure("set server default smtp max-bad-commands 4", "set server default smtp bad-command-delay 1s")
    try:
        with Smtp(BOX.port) as client:
            replies = [client.command("GUESS")[0] for _ in range(5)]
            equal(replies, [500] * 4 + [421])
            equal(client.file.read(), b"", "the connection is closed")
    finally:
        BOX.configure("delete server default smtp max-bad-commands", "delete server default smtp bad-command-delay")


@test
def a_mail_of_a_million_parts_is_refused_with_its_reason():
    head = b"From: " + SENDER + b'\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n'
    code, text = given(head + b"--b\r\n\r\n\xe9\r\n" * 1000000 + b"--b--" + PLAIN_END)
    equal(code, 554)
    contains(text, "5.6.3 Message cannot be signed")


@test
def a_pattern_that_runs_away_is_refused_at_commit():
    said = BOX.configure("set server default smime exclude header Subject (a+)+$", ok=False)
    BOX.console("configure", "rollback 0")
    contains(said, "runs away")
    contains(given(b"From: x@example.net\r\nSubject: " + b"a" * 900 + b"!\r\n\r\nx" + PLAIN_END)[1], "250")


@test
def what_the_server_offers_is_what_it_does():
    with Smtp(BOX.port) as client:
        equal(re.findall(r"BINARYMIME|XCLIENT|XFORWARD|VRFY|ETRN", client.hello[1]), [])
        for command, code in (("VRFY bob", 252), ("EXPN list", 502), ("HELP", 214), ("XCLIENT ADDR=192.0.2.1", 500),
                              ("XFORWARD ADDR=192.0.2.1", 500), ("MAIL FROM:<a@b.example> BODY=BINARYMIME", 501),
                              ("NOOP\nMAIL FROM:<a@b.example>", 500), ("NO\0OP", 500)):
            equal(client.command(command)[0], code, command)


run()

#!/usr/bin/python3
"""Mail through a running appliance: signed, split, excluded, refused; what arrives is judged by other programs."""
import json
import pathlib
import re
import subprocess
import tempfile
import time

from inkan import (SANITIZED, Sandbox, Sink, Smtp, compare, contains, crlf, equal, is_signed, now, run, send, shared, short_lived, stuffed, test, verify,
                   wait_until)

RSA, EC, EC384 = "alice@example.com", "bob@example.com", "carol@example.com"
SINK = Sink()
BOX = Sandbox("--next-hop", f"127.0.0.1:{SINK.port}", "--sender", f"{RSA}:rsa2048", "--sender", f"{EC}:p256",
              "--sender", f"{EC384}:p384")
CA = BOX.env["CA_FILE"]


def message(sender, subject="Quarterly report", body="All figures are attached.\n", extra=""):
    return crlf(f"From: {sender}\nTo: dave@example.net\nSubject: {subject}\nDate: {now()}\n"
                f"Message-ID: <{time.monotonic_ns()}@example.com>\n{extra}\n{body}".encode())


def delivered(octets, sender, recipients):
    """Sends and returns {recipient: (octets as they arrived)}."""
    before = len(SINK.messages)
    code, reply = send(BOX.port, sender, recipients, octets)
    equal(code, 250, reply)
    found = {}

    def all_there():
        for _, addresses, arrived in SINK.messages[before:]:
            found.update({a: arrived for a in addresses})
        return set(found) >= set(recipients)

    wait_until(all_there, 20, f"delivery to {recipients}")
    return found


def without_received(octets):
    return re.sub(rb"\AReceived:[^\r]*\r\n(?:[ \t][^\r]*\r\n)*", b"", octets)


@test
def mail_of_each_key_type_is_signed_and_valid():
    signed = [delivered(message(sender), sender, ["dave@example.net"])["dave@example.net"] for sender in (RSA, EC, EC384)]
    verify(signed, CA)
    contains(signed[2], b"micalg=sha-384")


@test
def rsa_keys_sign_with_pss_where_the_server_says_so():
    BOX.configure("set server default smime padding pss")
    signed = [delivered(message(sender), sender, ["dave@example.net"])["dave@example.net"] for sender in (RSA, EC)]
    BOX.configure("delete server default smime padding")
    verify(signed, CA)
    with tempfile.NamedTemporaryFile(suffix=".eml") as file:
        file.write(signed[0])
        file.flush()
        shown = subprocess.run(["openssl", "cms", "-cmsout", "-print", "-in", file.name], capture_output=True, text=True).stdout
    contains(shown, "algorithm: rsassaPss")
    signed = delivered(message(RSA), RSA, ["dave@example.net"])["dave@example.net"]
    verify([signed], CA)


@test
def the_original_is_in_the_signed_mail():
    original = message(RSA, body="One.\n.\n..two dots\nTrailing blanks  \n\n\n", extra="X-Own: kept\n")
    arrived = delivered(original, RSA, ["dave@example.net"])["dave@example.net"]
    equal(compare(original, arrived), "", "differences")


@test
def recipients_get_their_own_rendering():
    original = message(RSA)
    got = delivered(original, RSA, ["dave@example.net", "old..phone.@docomo.ne.jp", "erin@example.net"])
    equal(is_signed(got["dave@example.net"]), True)
    equal(got["dave@example.net"], got["erin@example.net"])
    equal(is_signed(got["old..phone.@docomo.ne.jp"]), False)
    equal(without_received(got["old..phone.@docomo.ne.jp"]), original, "the plain rendering")
    verify([got["dave@example.net"]], CA)


@test
def a_lookalike_of_a_carrier_is_signed():
    got = delivered(message(RSA), RSA, ["x@docomo.ne.jp.example.com"])
    equal(is_signed(got["x@docomo.ne.jp.example.com"]), True)


@test
def mail_that_is_signed_already_is_left_alone():
    once = without_received(delivered(message(RSA), RSA, ["dave@example.net"])["dave@example.net"])
    twice = delivered(once, RSA, ["dave@example.net"])["dave@example.net"]
    equal(without_received(twice), once, "signed mail sent again")


@test
def a_false_label_does_not_escape_signing():
    false = message(RSA, extra='Content-Type: multipart/signed; protocol="application/pkcs7-signature";\n'
                    ' micalg=sha-256; boundary=b\n', body="--b\n\nnot signed\n--b\n\nno signature\n--b--\n")
    equal(is_signed(delivered(false, RSA, ["dave@example.net"])["dave@example.net"].split(b"\r\n\r\n", 1)[0]), True)


@test
def a_sender_without_certificate_is_relayed_plain_or_refused():
    original = message("nobody@example.com")
    equal(without_received(delivered(original, "nobody@example.com", ["dave@example.net"])["dave@example.net"]), original)
    BOX.configure("set server default smime unsigned-sender refuse")
    code, reply = send(BOX.port, "nobody@example.com", ["dave@example.net"], original)
    equal(code, 550, reply)
    contains(reply, "5.7.1 No S/MIME certificate for nobody@example.com")
    BOX.configure("set server default smime unsigned-sender relay")


@test
def explain_tells_of_the_candidate_before_it_is_committed():
    ask = f"explain server default from {RSA} to a@b.example c@docomo.ne.jp"

    def verdicts(*commands):
        shown = BOX.console(*commands, f"run {ask} candidate | json")
        return [(row["recipient"], row["verdict"], row["rule"]) for row in json.loads(shown[shown.index("[\n"):shown.rindex("]") + 1])]

    carrier = ("c@docomo.ne.jp", "plain", "smime exclude recipient @([^@]+\\.)?docomo\\.ne\\.jp$")
    equal(verdicts("configure"), [("a@b.example", "signed", f"smime certificate {RSA}"), carrier])
    added = "server default smime exclude recipient @b\\.example$"
    equal(verdicts("configure", "set " + added), [("a@b.example", "plain", added[len("server default "):]), carrier])
    contains(BOX.console(f"explain server default from {RSA} to a@b.example"), "signed")
    contains(BOX.console("configure", "delete server default smime enabled", f"run {ask} candidate"), "plain")
    contains(BOX.console("configure", "delete server default", f"run {ask} candidate", ok=False),
             'the candidate configuration has no server "default"')
    BOX.console("configure", "rollback 0")
    equal(is_signed(delivered(message(RSA), RSA, ["a@b.example"])["a@b.example"]), True, "mail while it was only a candidate")


@test
def two_from_fields_are_refused():
    code, reply = send(BOX.port, RSA, ["dave@example.net"], message(RSA, extra=f"From: {EC}\n"))
    equal(code, 550, reply)
    contains(reply, "5.7.1")


@test
def the_unsignable_is_refused_with_its_reason():
    hard = shared() / "corpus" / "hard" / "u01-xuuencode-8bit.eml"
    octets = re.sub(rb"(?im)^from:.*\r\n", b"", crlf(hard.read_bytes()))
    octets = b"From: " + RSA.encode() + b"\r\n" + octets
    code, reply = send(BOX.port, RSA, ["dave@example.net"], octets)
    equal(code, 554, reply)
    contains(reply, "5.6.3 Message cannot be signed: ")
    equal(send(BOX.port, RSA, ["x@docomo.ne.jp"], octets)[0], 250, "to an excluded recipient")


@test
def eight_bit_mail_is_encoded_before_it_is_signed():
    original = message(RSA, subject="=?UTF-8?B?5a6f?=", body="印鑑は、登録された印です。\n" * 40,
                       extra="MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n")
    arrived = delivered(original, RSA, ["dave@example.net"])["dave@example.net"]
    equal(any(c >= 0x80 for c in arrived), False, "octets above 127")
    equal(compare(original, arrived), "", "differences")
    verify([arrived], CA)


@test
def smuggled_ends_of_data_do_not_end_it():
    for number, end in enumerate([b"\n.\n", b"\n.\r\n", b"\r.\r\n", b"\r\n.\n", b"\r\n.\r", b"\r.\r", b"\n.\r", b"\0\r\n.\n"]):
        before = len(SINK.messages)
        with Smtp(BOX.port) as client:
            for text in [f"MAIL FROM:<{RSA}>", "RCPT TO:<dave@example.net>", "DATA"]:
                client.command(text)
            smuggled = f"MAIL FROM:<{EC}>\r\nRCPT TO:<erin@example.net>\r\nDATA\r\n".encode()
            client.send(b"From: " + RSA.encode() + b"\r\n\r\nfirst" + end + smuggled + b"From: x\r\n\r\nsecond\r\n.\r\n")
            code, reply = client.reply()
            equal(code // 100, 5, f"variant {number}: {reply}")
            equal(client.command("NOOP")[0], 250, f"variant {number}: one reply to DATA, then NOOP's")
        equal(len(SINK.messages), before, f"variant {number}: messages that arrived")


@test
def strangers_may_not_relay():
    BOX.configure("delete server default smtp allow-network", "set server default smtp allow-network 192.0.2.0/24")
    try:
        with Smtp(BOX.port, hello=None) as client:
            codes = [client.greeting[0]]
            if codes[0] == 220:
                codes += [client.command("EHLO x")[0], client.command(f"MAIL FROM:<{RSA}>")[0],
                          client.command("RCPT TO:<dave@example.net>")[0]]
            equal(codes[-1] // 100, 5, "the reply to a stranger")
    finally:
        BOX.configure("delete server default smtp allow-network", "set server default smtp allow-network 127.0.0.0/8")


@test
def a_commit_does_not_drop_a_session_in_data():
    with Smtp(BOX.port) as client:
        for text in [f"MAIL FROM:<{RSA}>", "RCPT TO:<dave@example.net>", "DATA"]:
            client.command(text)
        octets = stuffed(message(RSA))
        client.send(octets[:100])
        BOX.configure("set server default smtp max-recipients 77")
        client.send(octets[100:])
        equal(client.reply()[0], 250, "the reply after a commit")
        equal(client.command("NOOP")[0], 250)
    BOX.configure("delete server default smtp max-recipients")


@test
def an_expired_certificate_is_refused_exactly_so():
    """A certificate that ends in a few seconds is imported, operated, and then runs out."""
    with tempfile.TemporaryDirectory() as directory:
        seconds = 12
        file = short_lived("short@example.com", seconds, directory)
        ends = time.time() + seconds
        BOX.console(f"certificate import short@example.com {file}", stdin="secret\n")
        BOX.configure("set server default smime certificate short@example.com")
        equal(is_signed(delivered(message("short@example.com"), "short@example.com", ["a@b.example"])["a@b.example"]), True)
        time.sleep(max(0, ends - time.time()) + 2)
        code, reply = send(BOX.port, "short@example.com", ["a@b.example"], message("short@example.com"))
        equal(reply, "451 S/MIME certificate is expired", "the reply")
        equal(send(BOX.port, "short@example.com", ["a@docomo.ne.jp"], message("short@example.com"))[0], 250)
        BOX.configure("delete server default smime certificate short@example.com")


@test
def fifty_megabytes_pass_within_a_bounded_memory():
    def peak(pid):
        return int(re.search(r"VmHWM:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text()).group(1))

    pid = BOX.processes("inkan-relay")[0]
    pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")  # resets the peak
    before = peak(pid)
    line = b"0123456789" * 7 + b"abcdef\r\n"
    octets = message(RSA) + line * ((49 << 20) // len(line))
    arrived = delivered(octets, RSA, ["dave@example.net"])["dave@example.net"]
    equal(is_signed(arrived), True)
    grown = peak(pid) - before
    print(f"   peak of inkan-relay: {before} KiB before, {grown} KiB more for a message of {len(octets) >> 10} KiB")
    if grown > 8 << 10 and not SANITIZED:
        raise AssertionError(f"the relay grew by {grown} KiB")
    verify([arrived], CA, "--skip", "bouncycastle")


@test
def a_message_over_the_limit_is_refused():
    with Smtp(BOX.port) as client:
        contains(client.hello[1], "SIZE 52428800")
        code, reply = client.command(f"MAIL FROM:<{RSA}> SIZE=52428801")
        equal(code, 552, reply)
        contains(reply, "5.3.4")


@test
def the_token_has_no_new_files_from_signing():
    token = pathlib.Path(BOX.box)
    objects = sorted(str(p) for p in token.rglob("*.object"))
    if not objects:
        raise AssertionError("no token files found")
    contents = {p: pathlib.Path(p).read_bytes() for p in objects if not p.endswith("token.object")}
    for _ in range(20):
        delivered(message(RSA), RSA, ["dave@example.net"])
    equal(sorted(str(p) for p in token.rglob("*.object")), objects, "files of the token")
    for path, octets in contents.items():
        equal(pathlib.Path(path).read_bytes() == octets, True, path)


if __name__ == "__main__":
    run()

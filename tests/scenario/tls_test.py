#!/usr/bin/python3
"""TLS of the SMTP listeners with the key on the token: clients of every kind, crowds, faults, and what must not work."""
import base64
import contextlib
import json
import os
import pty
import resource
import shutil
import signal
import smtplib
import socket
import ssl
import statistics
import subprocess
import threading
import time

from faulty_token import FaultyToken
from inkan import Sandbox, contains, equal, run, test, wait_until

SENDER = "taro@example.co.jp"
READER = "reader@example.net"
BOX = Sandbox("--sender", f"{SENDER}:p256", "--processes", "2")
CA = BOX.env["CA_FILE"]
MESSAGE = f"From: {SENDER}\r\nTo: {READER}\r\nSubject: over TLS\r\n\r\nbody\r\n"


def trust(version=None):
    context = ssl.create_default_context(cafile=CA)
    if version:
        context.minimum_version = context.maximum_version = version
    return context


def dialogue(port, octets, seconds=5):
    """What comes back for octets sent at once after the greeting."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as client:
        client.recv(1000)
        client.sendall(octets)
        got = b""
        try:
            while piece := client.recv(10000):
                got += piece
        except TimeoutError:
            pass
        return got.decode(errors="replace")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ehlo(port):
    with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
        client.ehlo("client.example")
        return client.esmtp_features


def send_over_tls(port, version=None, implicit=False):
    if implicit:
        client = smtplib.SMTP_SSL("localhost", port, timeout=30, context=trust(version))
    else:
        client = smtplib.SMTP("localhost", port, timeout=30)
        client.starttls(context=trust(version))
    with client:
        client.sendmail(SENDER, [READER], MESSAGE)
        return client.sock.version()


@test
def python_sends_over_either_version():
    for version, name in ((ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")):
        equal(send_over_tls(BOX.port, version), name)
    mails = os.path.join(BOX.box, "maildir", "new")
    wait_until(lambda: len(os.listdir(mails)) == 2, 20, "both mails are delivered")
    for name in os.listdir(mails):
        with open(os.path.join(mails, name), encoding="utf-8") as mail:
            text = mail.read()
        contains(text, "with ESMTPS")
        contains(text, "multipart/signed")


def command(words, text=""):
    done = subprocess.run(words, input=text, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


@test
def other_clients_agree():
    for version in ("-tls1_2", "-tls1_3"):
        _, out = command(["openssl", "s_client", version, "-connect", f"127.0.0.1:{BOX.port}", "-starttls", "smtp", "-CAfile", CA,
                          "-verify_hostname", "localhost", "-verify_return_error", "-crlf"], "QUIT\n")
        contains(out, "Verify return code: 0 (ok)")
    code, out = command(["curl", "-sv", "--ssl-reqd", "--cacert", CA, f"smtp://localhost:{BOX.port}", "--mail-from", SENDER,
                         "--mail-rcpt", READER, "-T", "-"], MESSAGE)
    equal(code, 0, out)
    if shutil.which("gnutls-cli"):
        for priority in ("NORMAL:-VERS-ALL:+VERS-TLS1.2", "NORMAL:-VERS-ALL:+VERS-TLS1.3"):
            _, out = command(["gnutls-cli", "--starttls-proto=smtp", "--x509cafile", CA, "--priority", priority,
                              "-p", str(BOX.port), "localhost"], "QUIT\r\n")
            contains(out, "Handshake was completed")
    if shutil.which("swaks"):
        code, out = command(["swaks", "--server", f"localhost:{BOX.port}", "-tls", "--tls-verify", "--tls-ca-path", CA, "--from", SENDER,
                             "--to", READER])
        equal(code, 0, out)


@test
def old_protocols_and_weak_ciphers_are_refused():
    for words in (["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], ["-tls1_2", "-cipher", "AES256-GCM-SHA384"]):
        _, out = command(["openssl", "s_client", *words, "-connect", f"127.0.0.1:{BOX.port}", "-starttls", "smtp"], "QUIT\n")
        contains(out, "Cipher is (NONE)")
    _, out = command(["openssl", "s_client", "-tls1_2", "-connect", f"127.0.0.1:{BOX.port}", "-starttls", "smtp"], "R\n")
    contains(out, "no renegotiation")


@test
def commands_put_in_before_the_handshake_do_nothing():
    answer = dialogue(BOX.port, b"EHLO evil.example\r\nSTARTTLS\r\nMAIL FROM:<evil@example.com>\r\n")
    contains(answer, "421 4.7.0")
    equal("220" in answer, False, answer)
    equal("Sender ok" in answer, False, answer)


@test
def the_api_speaks_https():
    port = free_port()
    listen = f"server default api listen 127.0.0.1:{port}"
    contains(BOX.configure(f"set {listen}", ok=False), "needs a certificate")
    BOX.configure(f"set {listen} certificate localhost")
    for version in ("1.2", "1.3"):
        code, out = command(["curl", "-sS", f"--tlsv{version}", "--tls-max", version, "--cacert", CA,
                             f"https://localhost:{port}/api/v2/emails/send.json",
                             "-d", f"api_user={BOX.env['API_USER']}&api_key={BOX.env['API_KEY']}&to={READER}&from={SENDER}"
                             "&subject=x&text=body"])
        equal(code, 0, out)
        contains(out, '"id"')


@test
def what_was_said_in_the_clear_is_forgotten():
    with smtplib.SMTP("localhost", BOX.port, timeout=20) as client:
        client.ehlo("before.example")
        equal(client.docmd("STARTTLS now")[0], 501)
        equal(client.docmd("STARTTLS")[0], 220)
        client.sock = trust().wrap_socket(client.sock, server_hostname="localhost")
        client.file = None
        equal(client.docmd(f"MAIL FROM:<{SENDER}>")[0], 503, "MAIL without a new EHLO")
        equal("starttls" in client.ehlo("after.example")[1].decode().lower(), False)
        equal(client.docmd("STARTTLS")[0], 503)
        equal(client.docmd("MAIL", f"FROM:<{SENDER}>")[0], 250)


@test
def passwords_are_taken_only_under_tls():
    BOX.configure("delete server default smtp auth-without-tls")
    try:
        equal("auth" in ehlo(BOX.port), False)
        with smtplib.SMTP("localhost", BOX.port, timeout=20) as client:
            client.ehlo("client.example")
            login = base64.b64encode(f"\0{BOX.env['API_USER']}\0{BOX.env['API_KEY']}".encode()).decode()
            equal(client.docmd("AUTH PLAIN", login)[0], 538)
            client.starttls(context=trust())
            client.login(BOX.env["API_USER"], BOX.env["API_KEY"])
            client.sendmail(SENDER, [READER], MESSAGE)
    finally:
        BOX.configure("set server default smtp auth-without-tls")


# ---- a token that can be slowed down, and whose PIN we know ----

TOKEN = FaultyToken()
SLOW = TOKEN.sandbox("--sender", f"{SENDER}:p256", "--backend", "cryptoki", "--processes", "2", "--threads", "64")


def certificate_of(box, name, request=None):
    """A TLS certificate of the box's demo CA: a PKCS#12 file with a new key, or the certificate of a request."""
    here = os.path.join(box.box, "ca")
    base = os.path.join(box.box, name)
    with open(f"{base}.ext", "w", encoding="utf-8") as extensions:
        extensions.write(f"keyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth\nsubjectAltName=DNS:{name}\n")
    if request:
        with open(f"{base}.csr", "w", encoding="utf-8") as file:
            file.write(request)
    else:
        subprocess.run(["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
                        f"{base}.key", "-out", f"{base}.csr", "-subj", f"/CN={name}"], check=True, capture_output=True)
    subprocess.run(["openssl", "x509", "-req", "-in", f"{base}.csr", "-CA", f"{here}/intermediate.crt", "-CAkey",
                    f"{here}/intermediate.key", "-days", "30", "-extfile", f"{base}.ext", "-out", f"{base}.crt"],
                   check=True, capture_output=True)
    if request:
        subprocess.run(["sh", "-c", f"cat {here}/intermediate.crt >>{base}.crt"], check=True)
        return f"{base}.crt"
    subprocess.run(["openssl", "pkcs12", "-export", "-inkey", f"{base}.key", "-in", f"{base}.crt", "-certfile",
                    f"{here}/intermediate.crt", "-passout", "pass:secret", "-out", f"{base}.p12"], check=True, capture_output=True)
    return f"{base}.p12"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


LISTEN = f"server default smtp listen 127.0.0.1:{SLOW.port}"


@test
def a_key_is_imported_or_born_on_the_token():
    file = certificate_of(SLOW, "mx.example.com")
    contains(SLOW.console(f"certificate import --tls other.example.com {file}", stdin="secret\n", ok=False), "not for other.example.com")
    contains(SLOW.console(f"certificate import {SENDER} {file}", stdin="secret\n", ok=False), SENDER)
    contains(SLOW.console(f"certificate import --tls mx.example.com {file}", stdin="secret\n"), "It serves after")
    contains(SLOW.console("certificate request tls localhost dns a@example.com", ok=False), "dns a@example.com")
    out = SLOW.console("certificate request tls localhost key p256 dns mx1.example.com dns *.example.net")
    request = out[out.index("-----BEGIN"):out.index("-----END")] + "-----END CERTIFICATE REQUEST-----\n"
    shown = subprocess.run(["openssl", "req", "-noout", "-text", "-verify"], input=request, capture_output=True, text=True)
    contains(shown.stdout, "DNS:localhost, DNS:mx1.example.com, DNS:*.example.net")
    contains(SLOW.console(f"certificate install tls localhost {certificate_of(SLOW, 'localhost', request)}"), "It serves after")
    contains(SLOW.console("show certificates detail"), "TLS servers")


@test
def a_key_does_what_it_is_for():
    contains(SLOW.configure(f"set {LISTEN} tls starttls", ok=False), "needs a certificate")
    contains(SLOW.configure(f"set {LISTEN} certificate {SENDER}", ok=False), SENDER)
    contains(SLOW.configure("set server default smime certificate localhost", ok=False), "localhost")
    contains(SLOW.configure(f"set {LISTEN} tls starttls", f"set {LISTEN} certificate nobody.example.com", ok=False),
             "no certificate is registered for nobody.example.com")
    SLOW.console("configure", "rollback 0", "exit", ok=None)
    said = SLOW.configure(f"set {LISTEN} tls starttls", f"set {LISTEN} certificate localhost")
    contains(said, "warning: the certificate of localhost expires on")
    with open(os.path.join(SLOW.box, "inkand.log"), encoding="utf-8") as log:
        contains(log.read(), "certificate.expiring certificate=localhost for=tls days_left=")
    contains(greeting(SLOW), "warning: the certificate of localhost expires on")
    equal("not tried" in said or "not sign" in said, False, said)
    contains(SLOW.console("show certificates"), "operated on default")
    shown = json.loads(SLOW.console("show tls | json"))
    equal([(row["listener"], row["tls"], row["certificate"], row["key"], row["state"]) for row in shown],
          [(f"smtp 127.0.0.1:{SLOW.port}", "starttls", "localhost", "EC-P256", "signs")])
    contains(SLOW.console("certificate delete tls localhost", ok=False), "operates localhost")


@test
def a_commit_is_refused_whose_key_is_not_on_the_token():
    file = certificate_of(SLOW, "lost.example.com")
    SLOW.console(f"certificate import --tls lost.example.com {file}", stdin="secret\n")
    done = subprocess.run(["pkcs11-tool", "--module", TOKEN.real_module(), "--token-label", "inkan", "--login", "--pin", TOKEN.pin,
                           "--delete-object", "--type", "privkey", "--id", key_id("lost.example.com")], capture_output=True, text=True,
                          env={"PATH": os.environ["PATH"], "SOFTHSM2_CONF": str(TOKEN.directory / "softhsm2.conf")})
    equal(done.returncode, 0, done.stderr)
    TOKEN.give_away()
    killed = set(SLOW.kill("inkan-hsm"))  # they have it in their memory
    wait_until(lambda: len(set(SLOW.processes("inkan-hsm")) - killed) >= 2, 20, "other workers run")
    SLOW.console("hsm test", ok=None)
    said = SLOW.configure(f"set {LISTEN} certificate lost.example.com", ok=False)
    contains(said, "the token does not sign with the key of the TLS certificate lost.example.com")
    SLOW.console("configure", "rollback 0", "exit", ok=None)
    contains(ehlo(SLOW.port), "starttls")  # what ran before still runs
    SLOW.console("certificate delete tls lost.example.com", stdin=admin_password() + "\n")


def key_id(name):
    return next(row["key_id"] for row in json.loads(SLOW.console("show certificates detail | json")) if row["address"] == name)


def greeting(box):
    """What a person sees who logs in at a terminal."""
    terminal, other = pty.openpty()
    console = subprocess.Popen(["bash", "-c", box.env["INKAN"]], stdin=other, stdout=other, stderr=other)
    os.close(other)
    os.write(terminal, b"exit\n")
    said = b""
    with contextlib.suppress(OSError):  # EIO: the end of a terminal
        while piece := os.read(terminal, 4096):
            said += piece
    os.close(terminal)
    console.wait(timeout=20)
    return said.decode()


def admin_password():
    with open(SLOW.env["ADMIN_PASSWORD_FILE"], encoding="utf-8") as file:
        return file.read().strip()


@test
def sessions_show_their_tls_and_it_is_counted():
    before = json.loads(SLOW.console("show tls counters | json"))
    with smtplib.SMTP("localhost", SLOW.port, timeout=20) as client:
        client.starttls(context=slow_trust())
        client.ehlo("seen.example")
        row = next(r for r in json.loads(SLOW.console("show sessions | json")) if r["hello"] == "seen.example")
        equal(row["tls"], "TLSv1.3")
        after = json.loads(SLOW.console("show tls counters | json"))
    equal(int(after[0]["done_total"]) - int(before[0]["done_total"]), 1)
    equal(int(after[0]["connections"]) >= 1, True)


def slow_trust():
    return ssl.create_default_context(cafile=SLOW.env["CA_FILE"])


def connect_tls(port, results, index):
    begin = time.monotonic()
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=30) as plain:
            with slow_trust().wrap_socket(plain, server_hostname="localhost") as client:
                results[index] = (client.recv(100)[:3] == b"220", time.monotonic() - begin)
    except OSError as error:
        results[index] = (False, error)


def crowd(port, count):
    results = [None] * count
    threads = [threading.Thread(target=connect_tls, args=(port, results, i)) for i in range(count)]
    begin = time.monotonic()
    for thread in threads:
        thread.start()
    return threads, results, begin


IMPLICIT = free_port()


@test
def a_crowd_waits_together_and_others_feel_nothing():
    listen = f"server default smtp listen 127.0.0.1:{IMPLICIT}"
    SLOW.configure(f"set {listen} tls implicit", f"set {listen} certificate localhost")
    TOKEN.on("slow", "50")
    try:
        with smtplib.SMTP("127.0.0.1", SLOW.port, timeout=20) as other:
            other.ehlo("x.example")
            threads, results, begin = crowd(IMPLICIT, 200)
            waits = []
            while any(thread.is_alive() for thread in threads):
                asked = time.monotonic()
                equal(other.noop()[0], 250)
                waits.append(time.monotonic() - asked)
                time.sleep(0.005)
            took = time.monotonic() - begin
    finally:
        TOKEN.off("slow")
    equal([r for r in results if not r[0]], [])
    print(f"  200 handshakes with 50 ms a signature: {took:.2f} s, slowest {max(r[1] for r in results):.2f} s; "
          f"NOOP beside them: median {statistics.median(waits) * 1000:.1f} ms, worst {max(waits) * 1000:.0f} ms")
    assert took < 6, f"{took:.1f} s: one after the other would be 10 s"
    assert statistics.median(waits) < 0.2


@test
def two_thousand_half_open_handshakes_of_one_client_stop_nobody():
    resource.setrlimit(resource.RLIMIT_NOFILE, (8192, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    hello, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        slow_trust().wrap_bio(hello, out, server_hostname="localhost").do_handshake()
    except ssl.SSLWantReadError:
        pass
    beginning = out.read()[:100]
    held = []
    try:
        for number in range(2000):
            held.append(socket.create_connection(("127.0.0.1", IMPLICIT), timeout=20, source_address=("127.0.0.7", 0)))
            if number % 2:  # the others say nothing
                with contextlib.suppress(OSError):
                    held[-1].sendall(beginning)
        took = []
        for _ in range(20):
            results = [None]
            connect_tls(IMPLICIT, results, 0)
            equal(results[0][0], True, results)
            took.append(results[0][1])
        with smtplib.SMTP("localhost", SLOW.port, timeout=20) as client:
            client.starttls(context=slow_trust())
        shown = json.loads(SLOW.console("show tls counters | json"))[0]
        print(f"  beside {shown['handshakes']} half-open handshakes ({shown['refused_total']} refused): "
              f"median {statistics.median(took) * 1000:.1f} ms, worst {max(took) * 1000:.0f} ms")
        equal(int(shown["refused_total"]) >= 1000, True, shown)
    finally:
        for plain in held:
            plain.close()


@test
def limits_of_handshakes_are_settings():
    SLOW.configure("set system tls handshake-timeout 1s", "set system tls max-handshakes-per-minute 1")
    try:
        with socket.create_connection(("127.0.0.1", IMPLICIT), timeout=20) as silent:
            began = time.monotonic()
            silent.recv(100)
            equal(0.5 < time.monotonic() - began < 9, True, "the handshake's time is a second")
        results = [None]
        connect_tls(IMPLICIT, results, 0)
        equal(results[0][0], False, "more than one a minute")
    finally:
        SLOW.configure("delete system tls handshake-timeout", "delete system tls max-handshakes-per-minute")


@test
def a_worker_that_dies_loses_no_handshake():
    TOKEN.on("slow", "300")
    try:
        threads, results, _ = crowd(IMPLICIT, 20)
        time.sleep(0.25)
        os.kill(worker_of(SLOW), signal.SIGKILL)
        for thread in threads:
            thread.join()
    finally:
        TOKEN.off("slow")
    equal([r for r in results if not r[0]], [])


def worker_of(box):
    programs = box.programs() if hasattr(box, "programs") else None
    found = subprocess.run(["pgrep", "-P", box.env["SUPERVISOR_PID"], "-f", "inkan-hsm"], capture_output=True, text=True, check=True)
    return int((programs or found.stdout.split())[0])


@test
def who_leaves_in_a_handshake_leaves_nothing():
    TOKEN.on("slow", "2000")
    try:
        context = slow_trust()
        for _ in range(40):
            plain = socket.create_connection(("127.0.0.1", IMPLICIT), timeout=20)
            out, incoming = ssl.MemoryBIO(), ssl.MemoryBIO()
            try:
                context.wrap_bio(incoming, out, server_hostname="localhost").do_handshake()
            except ssl.SSLWantReadError:
                plain.sendall(out.read())
            plain.close()
    finally:
        TOKEN.off("slow")
    results = [None]
    connect_tls(IMPLICIT, results, 0)
    assert results[0][0], results


@test
def without_the_pin_mail_flows_in_the_clear():
    SLOW.console("hsm logout")
    try:
        listen = f"server default api listen 127.0.0.1:{free_port()}"
        contains(SLOW.configure(f"set {listen} certificate mx.example.com"), "the key of the TLS certificate mx.example.com was not tried")
        SLOW.configure(f"delete {listen}")
        wait_until(lambda: "starttls" not in ehlo(SLOW.port), 10, "STARTTLS is not announced")
        contains(dialogue(SLOW.port, b"EHLO x.example\r\nSTARTTLS\r\nQUIT\r\n"), "454 4.7.0")
        results = [None]
        connect_tls(IMPLICIT, results, 0)
        equal(results[0][0], False)
        contains(str(results[0][1]).lower(), "alert")
        with smtplib.SMTP("127.0.0.1", SLOW.port, timeout=20) as client:  # not ours to sign
            client.sendmail("other@example.org", [READER], MESSAGE.replace(SENDER, "other@example.org"))
    finally:
        SLOW.console("hsm login", stdin=TOKEN.pin + "\n")
    wait_until(lambda: "starttls" in ehlo(SLOW.port), 20, "STARTTLS is announced again")


@test
def a_commit_changes_the_certificate_and_drops_nobody():
    with smtplib.SMTP("localhost", SLOW.port, timeout=20) as client:
        client.starttls(context=slow_trust())
        SLOW.configure(f"delete {LISTEN} certificate localhost", f"set {LISTEN} certificate mx.example.com")
        equal(client.ehlo("still.example")[0], 250)
    with smtplib.SMTP("localhost", SLOW.port, timeout=20) as client:
        client.ehlo()
        client.docmd("STARTTLS")
        with slow_trust().wrap_socket(client.sock, server_hostname="mx.example.com") as wrapped:
            equal(dict(wrapped.getpeercert()["subjectAltName"]), {"DNS": "mx.example.com"})
            client.sock = None


run()

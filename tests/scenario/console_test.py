#!/usr/bin/python3
"""The operator's way: imports and their refusals, renewal, deletion, commit and rollback, as typed at the console."""
import json
import os
import pathlib
import re
import subprocess
import tempfile

from inkan import Sandbox, Sink, contains, crlf, equal, is_signed, now, run, send, test, verify, wait_until

SENDER, OTHER = "alice@example.com", "zoe@example.com"
SINK = Sink()
BOX = Sandbox("--next-hop", f"127.0.0.1:{SINK.port}", "--sender", f"{SENDER}:rsa2048")
DIRECTORY = tempfile.TemporaryDirectory()
os.chmod(DIRECTORY.name, 0o755)


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=DIRECTORY.name)


def path(name):
    return os.path.join(DIRECTORY.name, name)


def make_ca():
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=Console CA",
            "-days", "100", "-addext", "keyUsage=critical,keyCertSign")


def pkcs12(name, address, key=("-newkey", "rsa:2048"), usage="emailProtection", days="30", password="secret", export=(), san=None,
           with_key=True, alike=None):
    """A PKCS#12 file as a CA would make it; -> its path."""
    san = f"email:{address}" if san is None else san
    pathlib.Path(path("x.cnf")).write_text("[x]\nbasicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n"
                                           + (f"extendedKeyUsage={usage}\n" if usage else "")
                                           + (f"subjectAltName={san}\n" if san else ""))
    openssl("req", *key, "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
    openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-days", days, "-extfile", "x.cnf",
            "-extensions", "x", "-out", f"{name}.crt", "-set_serial", str(abs(hash(name)) % 10**9 + 1))
    source = ["-inkey", f"{alike or name}.key"] if with_key else ["-nokeys"]
    openssl("pkcs12", "-export", *source, "-in", f"{name}.crt", "-certfile", "ca.crt", "-out", f"{name}.p12", "-passout",
            f"pass:{password}", *export)
    os.chmod(path(f"{name}.p12"), 0o644)
    return path(f"{name}.p12")


make_ca()


def private_keys():
    """How many private keys `show hsm` counts on the token."""
    return int(re.search(r"(?i)private keys[: ]+(\d+)", BOX.console("show hsm")).group(1))


def refused(command, stdin, *parts):
    before = private_keys()
    certificates = BOX.console("show certificates")
    said = BOX.console(command, stdin=stdin, ok=False)
    for part in parts:
        contains(said.lower(), part.lower())
    equal(len(said.strip().splitlines()) <= 2, True, f"one clear line, not {said!r}")
    equal(private_keys(), before, "private keys on the token")
    equal(BOX.console("show certificates"), certificates, "certificates")


@test
def an_import_says_what_it_did():
    said = BOX.console(f"certificate import {OTHER} {pkcs12('zoe', OTHER)}", stdin="secret\n")
    contains(said.lower(), "rewrap")
    listed = BOX.console("show certificates")
    contains(listed, OTHER)
    contains(BOX.console("show certificates detail").lower(), "sensitive")


@test
def imports_of_every_kind_of_file():
    for number, (key, export) in enumerate([
            (("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"), ()),
            (("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"), ()),
            (("-newkey", "rsa:3072"), ("-legacy",)),
            (("-newkey", "rsa:2048"), ("-legacy", "-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-RC2-40")),
            (("-newkey", "rsa:2048"), ("-macalg", "sha512", "-iter", "100000"))]):
        address = f"kind{number}@example.com"
        BOX.console(f"certificate import {address} {pkcs12(f'kind{number}', address, key=key, export=export)}", stdin="secret\n")
        contains(BOX.console("show certificates"), address)


@test
def wrong_files_and_passwords_are_refused_and_leave_nothing():
    good = pkcs12("mia", "mia@example.com")
    refused(f"certificate import mia@example.com {good}", "wrong\n", "password")
    pathlib.Path(path("text.p12")).write_text("this is no PKCS#12 file\n")
    os.chmod(path("text.p12"), 0o644)
    refused(f"certificate import mia@example.com {path('text.p12')}", "secret\n", "not a PKCS#12")
    pathlib.Path(path("cut.p12")).write_bytes(pathlib.Path(good).read_bytes()[:-100])
    os.chmod(path("cut.p12"), 0o644)
    refused(f"certificate import mia@example.com {path('cut.p12')}", "secret\n", "PKCS#12")
    refused(f"certificate import other@example.com {good}", "secret\n", "mia@example.com")
    refused(f"certificate import mia@example.com {path('absent.p12')}", "secret\n", "No such file")
    refused(f"certificate import nokey@example.com {pkcs12('nokey', 'nokey@example.com', with_key=False)}", "secret\n", "key")


@test
def certificates_that_readers_would_reject_are_refused():
    for name, options, part in [
            ("eku", {"usage": "serverAuth"}, "emailProtection"),
            ("noeku", {"usage": None}, "emailProtection"),
            ("nosan", {"san": ""}, "address"),
            ("p521", {"key": ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-521")}, "P-521"),
            ("ed", {"key": ("-newkey", "ed25519")}, "Ed25519"),
            ("small", {"key": ("-newkey", "rsa:1024")}, "1024")]:
        file = pkcs12(name, f"{name}@example.com", **options)
        refused(f"certificate import {name}@example.com {file}", "secret\n", part)


@test
def the_same_address_is_not_imported_twice():
    refused(f"certificate import {OTHER} {pkcs12('again', OTHER)}", "secret\n", "renew")


def signer_serial():
    """The serial number of the certificate that signs SENDER's mail now."""
    before = len(SINK.messages)
    equal(send(BOX.port, SENDER, ["d@example.net"], crlf(f"From: {SENDER}\nSubject: x\n\nbody\n".encode()))[0], 250)
    arrived = SINK.wait(before + 1)[-1][2]
    pathlib.Path(path("m.eml")).write_bytes(arrived)
    openssl("cms", "-verify", "-noverify", "-in", "m.eml", "-signer", "signer.crt", "-out", "/dev/null")
    shown = subprocess.run(["openssl", "x509", "-in", path("signer.crt"), "-noout", "-serial"], capture_output=True, text=True)
    return shown.stdout.strip()


@test
def a_renewal_takes_effect_at_commit_and_rolls_back():
    old = signer_serial()
    BOX.console(f"certificate renew {SENDER} {pkcs12('renewed', SENDER)}", stdin="secret\n")
    equal(signer_serial(), old, "the signer before the commit")
    BOX.configure()
    new = signer_serial()
    equal(new != old, True, "a new signer after the commit")
    BOX.configure("rollback 1")
    equal(signer_serial(), old, "the signer after rollback 1")
    BOX.configure("rollback 1")
    equal(signer_serial(), new, "the signer after another rollback 1")


@test
def deletion_asks_the_password_and_refuses_what_is_operated():
    password = pathlib.Path(BOX.env["ADMIN_PASSWORD_FILE"]).read_text()
    said = BOX.console(f"certificate delete {SENDER}", stdin=password, ok=False)
    contains(said, "default")
    before = private_keys()
    contains(BOX.console(f"certificate delete {OTHER}", stdin="not the password\n", ok=False).lower(), "password")
    equal(private_keys(), before)
    BOX.console(f"certificate delete {OTHER}", stdin=password)
    equal(private_keys(), before - 1, "private keys on the token")
    equal(OTHER in BOX.console("show certificates"), False)


@test
def configuration_is_compared_committed_and_rolled_back():
    script = "configure\nset server default smtp max-recipients 42\nshow | compare\ncommit comment \"forty-two\"\nexit\n"
    said = subprocess.run(["bash", "-c", BOX.env["INKAN"]], input=script, capture_output=True, text=True, timeout=60)
    contains(said.stdout, "max-recipients 42")
    contains(BOX.console("show configuration"), "max-recipients 42")
    contains(BOX.console("show system commit"), "forty-two")
    BOX.configure("rollback 1")
    equal("max-recipients 42" in BOX.console("show configuration"), False)


@test
def a_commit_that_cannot_run_is_refused_whole():
    for line, part in [("set server default smtp listen 203.0.113.9:2500", "203.0.113.9"),
                       ("set server default smime exclude recipient \"(\"", "("),
                       ("set server default smime certificate absent@example.com", "absent@example.com"),
                       ("set server default smtp listen 127.0.0.1:99999", "99999")]:
        said = BOX.configure(line, ok=False)
        contains(said, part)
        equal(send(BOX.port, SENDER, ["d@example.net"], crlf(f"From: {SENDER}\n\nbody\n".encode()))[0], 250, "mail after a refusal")
        subprocess.run(["bash", "-c", BOX.env["INKAN"]], input="configure\nrollback 0\nexit\n", capture_output=True, text=True)


@test
def a_script_without_an_account_makes_no_state():
    done = subprocess.run([BOX.env["INKAN"].split()[0], "-C", path("nobody"), "-c", "show servers"], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=60)
    equal((done.returncode, done.stdout), (2, ""), "exit status and output")
    contains(done.stderr, "-u ACCOUNT")
    equal(os.path.exists(path("nobody")), False, "a state directory")


@test
def programs_are_shown_to_people_and_machines():
    programs = json.loads(BOX.console("show system programs | json"))
    equal([p["program"] for p in programs], ["relay", "worker 1", "worker 2"])
    equal({p["state"] for p in programs}, {"running"})
    contains(BOX.console("show hsm"), "worker 2")


@test
def every_change_left_an_audit_row_without_secrets():
    log = BOX.console("show log audit 1000")
    for part in ("certificate import", "certificate renew", "certificate delete", "commit", "hsm login"):
        contains(log, part)
    for secret in ("secret", pathlib.Path(BOX.env["ADMIN_PASSWORD_FILE"]).read_text().strip()):
        equal(secret in log, False, "a secret in the audit log")


@test
def two_sandboxes_run_side_by_side():
    with Sandbox("--sender", "eve@example.com:p256") as other:
        message = crlf(f"From: eve@example.com\nSubject: other\nDate: {now()}\n\nbody\n".encode())
        equal(send(other.port, "eve@example.com", ["d@example.net"], message)[0], 250)
        arrived = other.maildir(1)[0]
        equal(is_signed(arrived), True)
        verify([crlf(arrived)], other.env["CA_FILE"])
        equal(send(BOX.port, SENDER, ["d@example.net"], crlf(f"From: {SENDER}\n\nbody\n".encode()))[0], 250)
        box = other.box
        pid = int(other.env["SUPERVISOR_PID"])
    equal(os.path.exists(box), False, "the directory after down")
    wait_until(lambda: not os.path.exists(f"/proc/{pid}"), 5, "inkand to end")


if __name__ == "__main__":
    run()

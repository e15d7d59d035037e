#!/usr/bin/python3
"""Where keys come from: files of every tool, keys born on the token, pasted text, a new token, and commands that are killed."""
import base64
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import tempfile
import time

from faulty_token import FaultyToken
from inkan import Sandbox, contains, equal, is_signed, run, send, test, wait_until

SENDER = "alice@example.com"
BOX = Sandbox("--without-tls", "--sender", f"{SENDER}:rsa2048")
DIRECTORY = tempfile.TemporaryDirectory()
os.chmod(DIRECTORY.name, 0o755)
PASSWORD = "secret"


def tool(*arguments, **options):
    done = subprocess.run(arguments, capture_output=True, text=True, cwd=DIRECTORY.name, timeout=60, **options)
    if done.returncode != 0:
        raise AssertionError(f"{arguments}: {done.stdout}{done.stderr}")
    return done.stdout


def path(name):
    return os.path.join(DIRECTORY.name, name)


def make_ca():
    tool("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=Test CA",
         "-days", "100", "-addext", "keyUsage=critical,keyCertSign")


def certify(csr, name, address=None):
    """The CA signs a request, as it stands or for another address; -> the certificate's path."""
    extensions = ["-copy_extensions", "copy"]
    if address:
        pathlib.Path(path("x.cnf")).write_text(f"[x]\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=emailProtection\n"
                                               f"subjectAltName=email:{address}\n")
        extensions = ["-extfile", "x.cnf", "-extensions", "x"]
    tool("openssl", "x509", "-req", "-in", csr, "-CA", "ca.crt", "-CAkey", "ca.key", "-days", "30", *extensions, "-out", f"{name}.crt",
         "-set_serial", str(random.getrandbits(60)))
    return path(f"{name}.crt")


def key_and_certificate(name, address, kind=("rsa:2048",)):
    tool("openssl", "req", "-newkey", *kind, "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
    certify(f"{name}.csr", name, address)


def pkcs12(name, address, *export, password=PASSWORD, **options):
    key_and_certificate(name, address, **options)
    tool("openssl", "pkcs12", "-export", "-inkey", f"{name}.key", "-in", f"{name}.crt", "-certfile", "ca.crt", "-out", f"{name}.p12",
         "-passout", f"pass:{password}", *export)
    return path(f"{name}.p12")


make_ca()


def private_keys(box=BOX):
    return int(re.search(r"(?i)private keys[: ]+(\d+)", box.console("show hsm")).group(1))


def pending(box=BOX):
    return int(tool("sqlite3", os.path.join(box.box, "inkan.db"), "SELECT count(*) FROM pending_key"))


def certificates(box=BOX):
    return json.loads(box.console("show certificates detail | json").split("\n]")[0] + "\n]")


def delete(address, box=BOX):
    box.console(f"certificate delete {address}", stdin=pathlib.Path(box.env["ADMIN_PASSWORD_FILE"]).read_text())


# ---- what tools make ----


def by_certtool(name, address, password):
    key_and_certificate(name, address)
    tool("certtool", "--to-p12", "--load-privkey", f"{name}.key", "--load-certificate", f"{name}.crt", "--load-ca-certificate",
         "ca.crt", "--p12-name", name, "--password", password, "--outder", "--outfile", f"{name}.p12")


def by_pk12util(name, address, password):
    pkcs12(name, address)
    tool("certutil", "-N", "--empty-password", "-d", f"sql:{DIRECTORY.name}")
    tool("pk12util", "-i", f"{name}.p12", "-W", PASSWORD, "-d", f"sql:{DIRECTORY.name}")
    nick = re.search(r"^(.*?) +u,u,u", tool("certutil", "-L", "-d", f"sql:{DIRECTORY.name}"), re.M).group(1)
    tool("pk12util", "-o", f"{name}.p12", "-n", nick, "-W", password, "-d", f"sql:{DIRECTORY.name}")


def by_keytool(name, address, password):
    key_and_certificate(name, address)
    tool("openssl", "pkcs12", "-export", "-inkey", f"{name}.key", "-in", f"{name}.crt", "-certfile", "ca.crt", "-out", "source.p12",
         "-passout", f"pass:{PASSWORD}", "-name", "source")
    tool("keytool", "-importkeystore", "-srckeystore", "source.p12", "-srcstoretype", "PKCS12", "-srcstorepass", PASSWORD,
         "-destkeystore", f"{name}.p12", "-deststoretype", "PKCS12", "-deststorepass", password, "-noprompt")


@test
def files_of_every_tool_are_imported():
    for number, (make, password) in enumerate([(by_certtool, "secret"), (by_certtool, "暗証番号"), (by_pk12util, "secret"),
                                               (by_keytool, "secret-of-java")]):
        name, address = f"tool{number}", f"tool{number}@example.com"
        make(name, address, password)
        said = BOX.console(f"certificate import {address} {path(name + '.p12')}", stdin=password + "\n")
        contains(said, "Registered")
        delete(address)


@test
def a_file_of_600000_iterations_takes_seconds():
    file = pkcs12("many", "many@example.com", "-iter", "600000")
    start = time.monotonic()
    BOX.console(f"certificate import many@example.com {file}", stdin="secret\n")
    took = time.monotonic() - start
    delete("many@example.com")
    if took > 20:
        raise AssertionError(f"{took:.1f} s")


@test
def a_file_that_takes_long_says_so():
    file = pkcs12("long", "long@example.com", "-iter", "6000000")
    said = BOX.console(f"certificate import long@example.com {file}", stdin="wrong\n", ok=False)
    contains(said, "The file asks for 6000000 iterations of its key derivation")
    contains(said, "wrong password of the PKCS#12 file")


@test
def a_bad_file_is_refused_at_once():
    file = pathlib.Path(pkcs12("bad", "bad@example.com"))
    whole, before = file.read_bytes(), private_keys()
    broken = [whole[:n] for n in (0, 1, 2, 50, len(whole) // 2, len(whole) - 1)]
    broken += [whole[:n] + bytes([whole[n] ^ 0x10]) + whole[n + 1:] for n in range(30, len(whole), len(whole) // 7)]
    broken += [b"\x30\x80" * 5000, b"\x30\x84\x7f\xff\xff\xff" + whole, b"x" * (2 << 20)]
    for number, octets in enumerate(broken):
        file.write_bytes(octets)
        start = time.monotonic()
        said = BOX.console(f"certificate import bad@example.com {file}", stdin="secret\n", ok=None)
        took = time.monotonic() - start
        lines = [line for line in said.splitlines() if line.strip()]
        if "Registered" in said:  # what was changed lies outside the MAC and means nothing
            delete("bad@example.com")
            continue
        equal(len(lines), 1, f"one line for case {number}: {said!r}")
        if took > 10:  # 2 s on a machine of one's own
            raise AssertionError(f"case {number} took {took:.1f} s: {said}")
    equal(private_keys(), before, "private keys on the token")
    equal(pending(), 0, "pending keys")


# ---- pasted ----


@test
def a_file_can_be_pasted():
    octets = pathlib.Path(pkcs12("paste", "paste@example.com")).read_bytes()
    text = base64.b64encode(octets).decode()
    for number, lines in enumerate([re.findall(".{1,64}", text), [text], ["-----BEGIN PKCS12-----", *re.findall(".{1,76}", text),
                                                                         "-----END PKCS12-----"]]):
        address = "paste@example.com"
        end = [".", "", "."][number]
        said = BOX.console(f"certificate import {address}", stdin="\n".join([*lines, end, "secret", ""]))
        contains(said, "Registered")
        delete(address)
    said = BOX.console("certificate import paste@example.com", stdin="not base64!\n.\nsecret\n", ok=False)
    contains(said, "what was pasted")


# ---- born on the token ----


def request(address, key=""):
    said = BOX.console(f"certificate request {address}{key}")
    csr = path(f"{address}.csr")
    pathlib.Path(csr).write_text(re.search(r"-----BEGIN.*?END CERTIFICATE REQUEST-----\n", said, re.S).group(0))
    return csr


@test
def a_key_is_born_on_the_token():
    for key, kind in [("", "RSA-2048"), (" key p256", "EC-P256"), (" key p384", "EC-P384"), (" key rsa3072", "RSA-3072")]:
        address = f"born-{kind.lower()}@example.com"
        csr = request(address, key)
        contains(tool("openssl", "req", "-in", csr, "-noout", "-verify", "-text"), f"email:{address}")
        contains(BOX.console("show certificates requests"), address)
        contains(BOX.console(f"certificate request {address}", ok=False), "already")
        BOX.console(f"certificate install {address} {certify(csr, address)}")
        one = next(c for c in certificates() if c["address"] == address)
        equal((one["key"], one["rung"]), (kind, "generate"))
        contains(one["attributes"], "born on the token")
        for word in ("sensitive", "!extractable", "local", "never-extractable"):
            contains(one["read_back"].split(), word)
        delete(address)
    contains(BOX.console("show log audit"), "key by generate: token private sensitive !extractable local")


@test
def what_does_not_fit_the_request_is_not_installed():
    csr = request("fit@example.com", " key p256")
    key_and_certificate("other", "fit@example.com")
    for name, file, part in [("another key", path("other.crt"), "no certificate in the file is of the key"),
                             ("another address", certify(csr, "elsewhere", "other@example.com"), "other@example.com"),
                             ("a key", path("other.key"), "private key"),
                             ("a text", path("x.cnf"), "not a certificate")]:
        said = BOX.console(f"certificate install fit@example.com {file}", ok=False)
        contains(said, part)
        equal(len(said.strip().splitlines()), 1, name)
    before = private_keys()
    password = pathlib.Path(BOX.env["ADMIN_PASSWORD_FILE"]).read_text()
    BOX.console("certificate request fit@example.com cancel", stdin="wrong\n", ok=False)
    equal(private_keys(), before)
    BOX.console("certificate request fit@example.com cancel", stdin=password)
    equal(private_keys(), before - 1, "the key has left the token")
    contains(BOX.console("certificate install fit@example.com x", ok=False), "no certificate request")


@test
def a_certificate_comes_in_every_wrapping():
    address = "wrap@example.com"
    for number, wrap in enumerate(["pem chain", "der", "pkcs7", "pkcs7 pem", "pasted"]):
        crt = certify(request(address, " key p256"), f"wrap{number}")
        given, stdin = path(f"wrap{number}.out"), ""
        if wrap == "pem chain":
            pathlib.Path(given).write_text("Subject: x\n" + pathlib.Path(path("ca.crt")).read_text() + pathlib.Path(crt).read_text())
        elif wrap == "der":
            tool("openssl", "x509", "-in", crt, "-outform", "DER", "-out", given)
        elif wrap.startswith("pkcs7"):
            tool("openssl", "crl2pkcs7", "-nocrl", "-certfile", crt, "-certfile", "ca.crt", "-out", given, "-outform",
                 "PEM" if wrap.endswith("pem") else "DER")
        else:
            given, stdin = "", pathlib.Path(path("ca.crt")).read_text() + pathlib.Path(crt).read_text() + ".\n"
        contains(BOX.console(f"certificate install {address} {given}".strip(), stdin=stdin), "Registered")
        delete(address)


@test
def the_current_certificate_signs_while_the_next_one_is_staged():
    box = Sandbox("--without-tls", "--sender", f"{SENDER}:rsa2048")
    message = f"From: {SENDER}\r\nTo: bob@example.net\r\nSubject: x\r\n\r\nhello\r\n".encode()

    def serial():
        equal(send(box.port, SENDER, ["bob@example.net"], message)[0], 250)
        signed = box.maildir(1)[-1]
        equal(is_signed(signed), True)
        box.empty_maildir()
        pathlib.Path(path("signed.eml")).write_bytes(signed)
        tool("openssl", "smime", "-pk7out", "-in", "signed.eml", "-out", "signed.p7")
        return tool("openssl", "pkcs7", "-in", "signed.p7", "-print_certs", "-noout")

    first = serial()
    said = box.console(f"certificate request {SENDER} key p256")
    pathlib.Path(path("next.csr")).write_text(re.search(r"-----BEGIN.*?-----END[^\n]*\n", said, re.S).group(0))
    equal(serial(), first)
    contains(box.console(f"certificate install {SENDER} {certify('next.csr', 'next')}"), "after the next commit")
    equal(serial(), first)
    box.configure("show")
    contains(serial(), "Test CA")
    password = pathlib.Path(box.env["ADMIN_PASSWORD_FILE"]).read_text()
    box.console(f"certificate delete {SENDER} previous", stdin=password)
    equal(private_keys(box), 1)
    contains(serial(), "Test CA")
    box.down()


# ---- a new token ----


@test
def a_key_comes_onto_the_token_again():
    address = "again@example.com"
    file, other = pkcs12("again", address), pkcs12("again2", address)
    before = token_objects()
    BOX.console(f"certificate import {address} {file}", stdin="secret\n")
    made = token_objects() - before
    contains(BOX.console(f"certificate reinstall {address} {file}", ok=False), "holds a key of that id already")
    one = next(c for c in certificates() if c["address"] == address)
    equal(one["password"], "kept, sealed by the token")
    for lost in made:  # by somebody else's tool
        lost.unlink()
    before = token_objects()
    contains(BOX.console(f"certificate reinstall {address} {other}", ok=False), "another certificate")
    contains(BOX.console(f"certificate reinstall {address} {file}"), "on the token again")
    made = token_objects() - before
    contains(BOX.console("hsm test"), address)
    contains(BOX.console(f"certificate forget-password {address}"), "Forgotten")
    equal(next(c for c in certificates() if c["address"] == address)["password"], "not kept")
    for lost in made:
        lost.unlink()
    said = BOX.console(f"certificate reinstall {address} {file}", stdin="secret\n")
    contains(said, "The password was not kept")
    delete(address)


def token_objects():
    return set(pathlib.Path(BOX.box, "tokens").rglob("*.object"))


# ---- killed ----


def import_command(box, address, file):
    words = ["bash", "-c", "exec " + box.env["INKAN"] + f" -c 'certificate import {address} {file}'"]
    running = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    running.stdin.write(b"secret\n")
    running.stdin.close()
    return running


def provisioning(box):
    return [pid for pid in box.processes("inkan-hsm") if b"provision" in pathlib.Path("/proc", str(pid), "cmdline").read_bytes()]


def strike(box, running, victim):
    """SIGKILL, or nothing when the process is not there (yet, or any more)."""
    pids = [running.pid] if victim == "console" else provisioning(box)
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    return bool(pids)


class Token:
    """SoftHSM loses a token whose process dies within C_Login (pkcs11.md): then the test goes on with a copy."""

    def __init__(self, box):
        self.box, self.golden = box, os.path.join(box.directory, "golden")
        shutil.copytree(os.path.join(box.box, "tokens"), self.golden)

    def is_well(self):
        return all(file.stat().st_size > 0 for file in pathlib.Path(self.box.box, "tokens").rglob("token.object"))


def nothing_is_left(box, keys, where):
    wait_until(lambda: not provisioning(box), 30, f"{where}: the end of the HSM program")
    registered = len(re.findall("^killed@example.com", box.console("show certificates"), re.M))  # and sweeps
    equal(private_keys(box), keys + registered, f"{where}: private keys on the token; {box.console('show log audit')[-900:]} "
          f"{[f.stat().st_size for f in pathlib.Path(box.box, 'tokens').rglob('*.object')]}")
    equal(pending(box), 0, f"{where}: pending keys")
    if registered:
        delete("killed@example.com", box)
    return registered


@test
def an_import_that_is_killed_leaves_no_key():
    box = Sandbox("--without-tls", "--sender", f"{SENDER}:rsa2048")
    file, keys, token = pkcs12("killed", "killed@example.com"), private_keys(box), Token(box)
    for victim in ("console", "provision"):
        for text in (b"Password, MAC and certificate are in order", b"The key signed a nonce on the token"):
            running = import_command(box, "killed@example.com", file)
            for line in running.stderr:
                if text in line:
                    strike(box, running, victim)
                    break
            running.wait(timeout=60)
            running.stderr.close()
            nothing_is_left(box, keys, f"{victim} at {text!r}")
    struck = registered = 0
    for number in range(40):
        victim = ("console", "provision")[number % 2]
        running = import_command(box, "killed@example.com", file)
        time.sleep(random.uniform(0.02, 0.6))
        struck += strike(box, running, victim)
        running.wait(timeout=60)
        running.stderr.close()
        if not token.is_well():
            print(f"# SoftHSM lost its token at kill {number}: the rest is left out")
            break
        registered += nothing_is_left(box, keys, f"random kill {number} of {victim}")
    print(f"# {struck} processes killed, {registered} imports were through before")
    box.down()


def crash_inkand(box):
    """-> the command to start it again."""
    pid = int(box.env["SUPERVISOR_PID"])
    command = pathlib.Path("/proc", str(pid), "cmdline").read_bytes().decode().split("\0")[:-1]
    os.kill(pid, signal.SIGKILL)
    return command


def start_inkand(box, command):
    """As after a crash; -> when its console can be used."""
    log = open(os.path.join(box.box, "inkand.log"), "ab")
    inkand = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", start_new_session=True)
    log.close()
    pathlib.Path(box.box, "inkand.pid").write_text(f"{inkand.pid}\n")
    box.env["SUPERVISOR_PID"] = str(inkand.pid)
    wait_until(lambda: "relay" in box.console("show system programs", ok=None), 20, "inkand is back")


@test
def an_import_whose_inkand_is_killed_leaves_no_key():
    token = FaultyToken()
    box = token.sandbox("--sender", f"{SENDER}:p256")
    file, keys = pkcs12("killed", "killed@example.com"), private_keys(box)
    for text in (b"Password, MAC and certificate are in order", b"The key signed a nonce on the token"):
        running = import_command(box, "killed@example.com", file)
        for line in running.stderr:
            if text in line:
                command = crash_inkand(box)
                break
        running.wait(timeout=60)
        running.stderr.close()
        start_inkand(box, command)
        box.console("hsm login", stdin=token.pin + "\n")
        nothing_is_left(box, keys, f"inkand at {text!r}")
    box.down()


def numbers(key):
    """16 octets out of the middle of p, q and d, in both byte orders."""
    text = tool("openssl", "rsa", "-in", key, "-noout", "-text")
    found = []
    for name in ("privateExponent", "prime1", "prime2"):
        octets = bytes.fromhex(re.sub(r"[\s:]", "", re.search(name + r":\n((?: +[0-9a-f:]+\n)+)", text).group(1)))
        middle = octets[len(octets) // 2 - 8:][:16]
        found += [middle, middle[::-1]]
    return found


def knows(pid, needles):
    """Whether one of the needles stands in the memory of a process."""
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            start, end = (int(x, 16) for x in line.split()[0].split("-"))
            if not line.split()[1].startswith("rw") or "[v" in line or end - start > 1 << 32:  # a sanitizer's shadow
                continue
            memory.seek(start)
            try:
                octets = memory.read(end - start)
            except OSError:
                continue
            if any(needle in octets for needle in needles):
                return True
    return False


@test
def the_key_is_never_in_the_console_nor_in_inkand_nor_in_the_relay():
    if os.geteuid() != 0:
        print("# needs root to look into the processes")
        return
    file = pkcs12("secret", "secret@example.com")
    needles = numbers("secret.key")
    holder = subprocess.Popen(["python3", "-c", "import sys; k = bytes.fromhex(sys.argv[1]); print(1, flush=True); sys.stdin.read()",
                               needles[2].hex()], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    holder.stdout.readline()
    equal(knows(holder.pid, needles), True, "the search itself")
    holder.communicate()
    running = import_command(BOX, "secret@example.com", file)
    for line in running.stderr:
        if b"The key signed a nonce" in line:
            break
    os.kill(running.pid, signal.SIGSTOP)
    others = {"console": [running.pid], "inkand": [int(BOX.env["SUPERVISOR_PID"])], "relay": BOX.processes("inkan-relay")}
    for name, pids in others.items():
        for pid in pids:
            equal(os.path.exists(f"/proc/{pid}/mem") and knows(pid, needles), False, name)
    os.kill(running.pid, signal.SIGCONT)
    equal(running.wait(timeout=60), 0)
    running.stderr.close()
    for pid in [*others["inkand"], *others["relay"]]:
        equal(knows(pid, needles), False, "after the import")
    delete("secret@example.com")


@test
def what_a_killed_console_left_is_swept_and_audited():
    box = Sandbox("--without-tls", "--sender", f"{SENDER}:rsa2048")
    keys = private_keys(box)
    # As a console leaves it that dies between the answer of the HSM program and its own row: a key, a pending row, no more.
    said = box.console("certificate request orphan@example.com key p256")
    contains(said, "BEGIN CERTIFICATE REQUEST")
    tool("sqlite3", os.path.join(box.box, "inkan.db"),
         "INSERT INTO pending_key SELECT key_id, 'certificate request orphan@example.com', 'admin', 'tty', 1000 "
         "FROM certificate_request; DELETE FROM certificate_request;")
    equal(pending(box), 1)
    said = box.console("show certificates")
    contains(said, "was broken off: its key was removed from the token")
    equal((private_keys(box), pending(box)), (keys, 0))
    contains(box.console("show log audit"), 'begun by admin at 1970-01-01 00:00:01 and broken off [2 objects removed from the token]')
    box.down()


@test
def a_key_that_a_certificate_names_is_never_swept():
    box = Sandbox("--without-tls", "--sender", f"{SENDER}:rsa2048")
    keys = private_keys(box)
    tool("sqlite3", os.path.join(box.box, "inkan.db"),
         "INSERT INTO pending_key SELECT key_id, 'certificate import x', 'admin', 'tty', 1000 FROM certificate;")
    box.console("show certificates")
    equal(private_keys(box), keys)
    box.down()


@test
def nothing_is_swept_while_another_console_makes_a_key():
    box = Sandbox("--without-tls", "--sender", f"{SENDER}:rsa2048")
    file = pkcs12("slow", "slow@example.com", "-iter", "3000000")
    running = import_command(box, "slow@example.com", file)
    wait_until(lambda: pending(box) == 1, 20, "the import has begun")
    box.console("show certificates")
    equal(pending(box), 1)
    equal(running.wait(timeout=120), 0, "the import goes through")
    running.stderr.close()
    equal(pending(box), 0)
    contains(box.console("hsm test", ok=None), "slow@example.com")
    box.down()


if __name__ == "__main__":
    run()

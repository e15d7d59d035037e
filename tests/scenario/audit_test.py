#!/usr/bin/python3
"""The audit as an auditor has it: rows without secrets, signed by the token, verified elsewhere; and the two-person rule."""
import contextlib
import json
import os
import pathlib
import resource
import shlex
import signal
import sqlite3
import subprocess

from inkan import Sandbox, contains, equal, run, test, wait_until

BOX = Sandbox("--sender", "a@example.com")
DATABASE = pathlib.Path(BOX.box, "inkan.db")
INKAN = shlex.split(BOX.env["INKAN"])
PASSWORDS = {"bob": "bobs-password-1", "olga": "olgas-password-1"}


def rows(*filters):
    return json.loads(BOX.console(f"show log audit {' '.join(filters)} last 10000 | json"))


def last():
    """The last row that is no login."""
    return [row for row in rows() if row["what"] != "login"][-1]


def as_account(account, *commands, stdin="", ok=True):
    password = pathlib.Path(BOX.directory, account)
    password.write_text(PASSWORDS[account] + "\n")
    password.chmod(0o600)
    command = [INKAN[0], "-C", BOX.box, "-u", account, "-P", str(password)]
    for one in commands:
        command += ["-c", one]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=120)
    if ok is not None and ok != (done.returncode == 0):
        raise AssertionError(f"{account} {commands}: exit {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def export(name):
    path = pathlib.Path(BOX.directory, name)
    said = BOX.console(f"audit export {path}")
    return path, said


def verify(path, *options):
    """Far from the appliance: no state directory, no token."""
    done = subprocess.run([INKAN[0], "audit", "verify", str(path), *options], capture_output=True, text=True, timeout=60,
                          env={"PATH": os.environ["PATH"]}, cwd="/")
    return done.returncode, done.stdout + done.stderr


@test
def rows_say_who_did_what_and_hold_no_secret():
    BOX.console("account add bob role administrator", stdin=f"{PASSWORDS['bob']}\n" * 2)
    equal((last()["who"], last()["what"], last()["result"]), ("admin", "account add bob role administrator", "ok"))
    BOX.console("account add olga role operator", stdin=f"{PASSWORDS['olga']}\n" * 2)
    BOX.console("hsm login 31415926535", ok=False)
    equal(last()["what"], "hsm login [...]")
    BOX.console("my-secret-password", ok=False)
    equal((last()["what"], last()["result"]), ("[...]", "not understood from word 1 on"))
    as_account("bob", "show accounts")
    PASSWORDS["nobody-but-a-password"] = "wrong-password"
    as_account("nobody-but-a-password", "show accounts", ok=False)
    equal((rows()[-2]["who"], rows()[-2]["what"]), ("unknown", "login"))
    as_account("olga", "account add eve role operator", ok=False)
    contains(last()["result"], "may not do this")
    text = json.dumps(rows())
    for secret in [*PASSWORDS.values(), "31415926535", "my-secret-password", "nobody-but-a-password",
                   BOX.env["PKCS12_PASSWORD"]]:
        equal(secret in text, False, f"{secret} in the audit")


@test
def a_commit_is_there_with_its_changes():
    BOX.configure("set server default smtp max-sessions 77")
    equal(last()["what"].split("\n")[1:], ["+ set server default smtp max-sessions 77"])
    contains(last()["what"], "commit [revision ")


@test
def hsm_events_are_there():
    BOX.kill("inkan-hsm")
    wait_until(lambda: [row for row in rows("what", "worker") if row["from"] == "inkand"], 20, "the end of a worker")
    contains(json.dumps(rows()), "accepted the PIN")
    contains(json.dumps(rows()), "inkand started")
    wait_until(lambda: "running" in BOX.console("show system programs | match worker"), 30, "a worker")


@test
def an_export_is_signed_and_verified_elsewhere():
    wait_until(lambda: "note:" not in export(f"try{len(rows())}")[1], 30, "the token signs again")
    path, said = export("audit.json")
    pin = said.split("--row ")[1].split()[0]
    key = json.loads(BOX.console("show audit keys | json"))[-1]["fingerprint"]
    code, text = verify(path, "--key", key, "--row", pin)
    equal(code, 0, text)
    contains(text, f"Signed: rows 1 to {pin.split(':')[0]},")
    pem = pathlib.Path(BOX.directory, "key.pem")
    line = next(json.loads(line) for line in path.read_text().splitlines() if line.startswith('{"key"'))
    pem.write_text(f"-----BEGIN PUBLIC KEY-----\n{line['public_key'][:64]}\n{line['public_key'][64:]}\n-----END PUBLIC KEY-----\n")
    equal(verify(path, "--key", str(pem))[0], 0)
    openssl = subprocess.run(["openssl", "pkey", "-pubin", "-in", pem, "-noout", "-text"], capture_output=True, text=True)
    contains(openssl.stdout, "prime256v1")
    equal(verify(path, "--key", "00" * 32)[0], 1)
    equal(verify("/etc/hostname")[0], 2)
    equal(verify("/nowhere")[0], 2)
    equal(subprocess.run([INKAN[0], "audit", "verify"], capture_output=True).returncode, 2)


@test
def what_is_done_to_an_export_is_found():
    path, said = export("attacked.json")
    pin = said.split("--row ")[1].split()[0]
    lines = path.read_text().splitlines()
    at = {json.loads(line)["row"]: i for i, line in enumerate(lines) if line.startswith('{"row"')}
    bad = pathlib.Path(BOX.directory, "bad.json")

    def attack(changed, found, *options):
        bad.write_text("\n".join(changed) + "\n")
        code, text = verify(bad, *options)
        equal(code, 1, text)
        contains(text, found)

    attack([line.replace('"who":"admin"', '"who":"bob"') if i == at[5] else line for i, line in enumerate(lines)],
           "row 5 was changed")
    attack(lines[:at[7]] + lines[at[7] + 1:], "row 7 is missing")
    attack(lines[:at[7]] + [lines[at[8]], lines[at[7]]] + lines[at[8] + 1:], "row 7 is missing")
    attack(lines[:at[9]] + [lines[at[4]]] + lines[at[9]:], "row 4 is out of order or was put in")
    attack(lines[:at[12] + 1], "cut behind row 12")
    cut = [line for i, line in enumerate(lines[:-1]) if not (line.startswith('{"row"') and i > at[20])
           and not (line.startswith('{"checkpoint"') and i > at[20])]
    kept = json.loads(lines[at[20]])
    forged = [*cut, json.dumps({"end": 20, "hash": kept["hash"]})]
    attack(forged, "are missing at the end: they are known", "--row", pin)


@test
def the_database_of_a_tamperer_is_found_out():
    with contextlib.closing(sqlite3.connect(DATABASE, timeout=10)) as db, db:
        before = db.execute("SELECT who FROM audit WHERE number = 3").fetchone()[0]
        db.execute("UPDATE audit SET who = 'eve' WHERE number = 3")
    try:
        contains(BOX.console("show log audit 1", ok=False), "broken at row 3")
    finally:
        with contextlib.closing(sqlite3.connect(DATABASE, timeout=10)) as db, db:
            db.execute("UPDATE audit SET who = ? WHERE number = 3", (before,))


@test
def a_full_disk_refuses_the_change():
    """Where files cannot grow any more, nothing is done that could not be written down before."""
    def no_room():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (128 << 10, resource.RLIM_INFINITY))

    command = [*INKAN]
    for number in range(101, 161):
        command += ["-c", f"set server default smtp max-sessions {number}"]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=no_room, timeout=60)
    equal(done.returncode, 1, done.stderr)
    contains(done.stderr, "audit row")
    audited = [row["what"] for row in rows("what", "max-sessions")]
    shown = BOX.console("configure", "show server default smtp | match max-sessions").split("\n")[0]
    reached = shown.split()[-1]
    equal(reached == "77" or f"set server default smtp max-sessions {reached}" in audited, True, f"{reached} in {audited}")
    equal(int(reached) < 160, True, reached)
    BOX.console("rollback 0")


@test
def two_persons_commit():
    BOX.configure("set system two-person commit")
    contains(BOX.console("set server default smtp max-sessions 88", "commit", ok=False), 'must type "approve 1"')
    equal("max-sessions 88" in BOX.console("show configuration"), False)
    contains(BOX.console("show approvals 1"), "+ set server default smtp max-sessions 88")
    contains(BOX.console("approve 1", ok=False), "somebody else must approve it")
    as_account("olga", "approve 1", ok=False)
    as_account("bob", "approve 1")
    contains(BOX.console("show configuration"), "max-sessions 88")
    contains(BOX.console("show system commit"), "(approved by bob)")
    equal((last()["who"], last()["result"]), ("bob", "ok"))
    contains(last()["what"], "approve 1: commit, asked for by admin")
    contains(last()["what"], "+ set server default smtp max-sessions 88")
    contains(as_account("bob", "approve 1", ok=False), "was approved by bob")


@test
def the_rule_is_not_got_round():
    contains(BOX.console("delete system two-person", "commit", ok=False), 'approve 2"')
    contains(BOX.console("rollback 2", "commit", ok=False), 'approve 3"')
    whole = pathlib.Path(BOX.directory, "open.conf")
    whole.write_text(BOX.console("show configuration").replace("set system two-person commit\n", ""))
    contains(BOX.console(f"load override {whole}", "commit", ok=False), 'approve 4"')
    contains(BOX.console("account add puppet role administrator", stdin="puppet-password\n" * 2, ok=False), 'approve 5"')
    contains(BOX.console("account password bob", stdin="another-password\n" * 2, ok=False), 'approve 6"')
    as_account("bob", "show accounts")
    backup = pathlib.Path(BOX.directory, "backup")
    BOX.console(f"backup {backup}")
    contains(BOX.console(f"restore {backup}", stdin="\n", ok=False), "nothing is restored")
    contains(BOX.console("account delete bob", ok=False), "there must be two administrators")
    as_account("bob", "reject 2", "reject 3", "reject 4", "reject 5", "reject 6")
    equal(json.loads(BOX.console("show approvals | json")), [])
    contains(BOX.console("show configuration"), "system two-person commit")
    equal("puppet" in BOX.console("show accounts"), False)


@test
def a_stale_commit_is_not_approved():
    BOX.console("rollback 0", "set server default smtp max-sessions 91", "commit", ok=False)
    number = json.loads(BOX.console("show approvals | json"))[-1]["number"]
    as_account("bob", "set server default smtp max-recipients 55", "commit", ok=False)
    BOX.console(f"approve {number + 1}")
    contains(as_account("bob", f"approve {number}", ok=False), "was committed meanwhile")
    BOX.console(f"reject {number}")
    contains(BOX.console("show configuration"), "max-recipients 55")


@test
def two_persons_for_accounts_and_certificates():
    BOX.console("rollback 0", "set system two-person accounts", "set system two-person certificates", "commit", ok=False)
    number = json.loads(BOX.console("show approvals | json"))[-1]["number"]
    as_account("bob", f"approve {number}")
    BOX.console("account add carl role auditor", stdin="carls-password\n" * 2, ok=False)
    equal("carl" in BOX.console("show accounts"), False)
    as_account("bob", f"approve {number + 1}")
    PASSWORDS["carl"] = "carls-password"
    contains(as_account("carl", "show accounts"), "carl")

    keys = BOX.console("show hsm | match 'Private keys'")
    file = pathlib.Path(BOX.env["PKCS12_DIR"], "a@example.com.p12")
    secret = BOX.env["PKCS12_PASSWORD"] + "\n"
    contains(BOX.console(f"certificate renew a@example.com {file}", stdin=secret, ok=False), f'approve {number + 2}"')
    equal("renewed" in BOX.console("show certificates"), False)
    as_account("bob", f"reject {number + 2}")
    wait_until(lambda: BOX.console("show hsm | match 'Private keys'") == keys, 30, "the rejected key has left the token")
    contains(BOX.console(f"certificate renew a@example.com {file}", stdin=secret, ok=False), f'approve {number + 3}"')
    contains(as_account("bob", f"approve {number + 3}"), "Renewed")
    contains(json.dumps(last()), "key by rewrap")
    BOX.console("certificate forget-password a@example.com", ok=False)
    as_account("bob", f"approve {number + 4}")


@test
def what_nobody_approves_is_over():
    BOX.console("set server default smtp max-sessions 95", "commit", ok=False)
    with contextlib.closing(sqlite3.connect(DATABASE, timeout=10)) as db, db:
        db.execute("UPDATE approval SET expires_ms = 1 WHERE state = 1")
    equal(json.loads(BOX.console("show approvals | json")), [])
    contains(json.dumps(rows("what", "approval")), "nobody approved")


run()

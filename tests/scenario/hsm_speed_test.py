#!/usr/bin/python3
"""`hsm benchmark` and `hsm test` on an appliance that signs mail meanwhile."""
import json
import re
import threading

from inkan import Sandbox, contains, crlf, equal, now, run, send, test, verify, wait_until

SENDER, EC = "alice@example.com", "carol@example.com"
BOX = Sandbox("--without-tls", "--sender", f"{SENDER}:rsa2048", "--sender", f"{EC}:p384")


def asked(command):
    """The rows that a command shows as JSON; progress may stand around them."""
    text = BOX.console(f"{command} | json")
    value, _ = json.JSONDecoder().raw_decode(text[re.search(r"(?m)^[\[{]", text).start():])
    return value if isinstance(value, list) else [value]


def keys_on_the_token():
    return [row["private_keys"] for row in asked("show hsm")]


def mail(number):
    return crlf(f"From: {SENDER}\nTo: dave@example.net\nDate: {now()}\nSubject: {number}\n\nDuring the benchmark.\n".encode())


@test
def a_benchmark_runs_beside_mail_and_leaves_nothing_behind():
    before, codes, over = keys_on_the_token(), [], threading.Event()

    def send_mail():
        while not over.is_set():
            codes.append(send(BOX.port, SENDER, ["dave@example.net"], mail(len(codes)))[0])

    sender = threading.Thread(target=send_mail)
    sender.start()
    try:
        rows = asked("hsm benchmark 5")
        wait_until(lambda: float(asked("show hsm")[0]["rate"]) > 0, 20, "a rate of signatures")
    finally:
        over.set()
        sender.join()
    equal({row["key"] for row in rows}, {"RSA-2048", "EC-P256", "EC-P384"})
    for row in rows:
        equal(int(row["rate"]) > 0 and 0 < int(row["p50_us"]) <= int(row["p99_us"]), True, row)
    equal({(1, 1)} <= {(int(row["processes"]), int(row["threads"])) for row in rows}, True, rows)
    equal(set(codes), {250}, "replies to mail")
    verify([crlf(message) for message in BOX.maildir(len(codes))[:2]], BOX.env["CA_FILE"])
    equal(keys_on_the_token(), before, "private keys on the token")


@test
def show_hsm_tells_who_signs():
    shown = asked("show hsm")[0]
    equal(shown["backend"], "engine")
    contains(shown["workers"], "2 of 2 running")
    equal(shown["last_error"], "none")
    contains(shown["mechanisms"], "CKM_RSA_PKCS_PSS")


@test
def its_length_is_checked():
    contains(BOX.console("hsm benchmark 4", ok=False), "a benchmark takes 5 to 300 seconds")


@test
def every_operated_key_passes_the_test():
    shown = BOX.console("hsm test")
    for address in (SENDER, EC):
        contains(shown, address)
    equal(shown.count("signed and verified: in software and on the token"), 2, shown)


if __name__ == "__main__":
    run()

#!/usr/bin/python3
"""Every real message of ../shared/corpus through the appliance: what is signed verifies and carries the same content.

Each gets one From field of ours (its own addresses have no certificate) and an X-Corpus field that names it; else it is
sent as it is, with CRLF line ends.
"""
import collections
import importlib.machinery
import importlib.util
import pathlib
import re
import tempfile

from inkan import Sandbox, Sink, Smtp, crlf, equal, is_signed, run, shared, stuffed, test, verdicts, wait_until

SENDER = "alice@example.com"
CORPUS = shared() / "corpus"
OF_THE_OUTER_HEADER = {"H01", "H02", "T02"}  # fields that occur twice, a missing Date, long lines: outside the signature

# What a checker does not take, and why: the faults are the original's (most are MIME that BouncyCastle writes anew before it
# digests; OpenSSL, gpgsm and NSS take every one).
with open(pathlib.Path(__file__).with_name("corpus_expected.tsv"), encoding="utf-8") as table:
    ROWS = [line.rstrip("\n").split("\t") for line in table][1:]
EXPECTED_VERDICTS = {name: set(fails.split(",")) for name, fails, _ in ROWS if fails != "compare"}
EXPECTED_DIFFERENCES = {name for name, fails, _ in ROWS if fails == "compare"}


def module_of(script):
    loader = importlib.machinery.SourceFileLoader(script.name, str(script))
    loaded = importlib.util.module_from_spec(importlib.util.spec_from_loader(script.name, loader))
    loader.exec_module(loaded)
    return loaded


def prepared(path):
    octets = crlf(path.read_bytes())
    head, separator, body = octets.partition(b"\r\n\r\n")
    head = re.sub(rb"(?im)^from[ \t]*:.*\r\n(?:[ \t].*\r\n)*", b"", head + b"\r\n")[:-2]
    name = str(path.relative_to(CORPUS))
    return f"From: {SENDER}\r\nX-Corpus: {name}\r\n".encode() + head + separator + body


def sent(files):
    """Sends all in one session; -> {name: reply}."""
    replies = {}
    with Sandbox("--next-hop", f"127.0.0.1:{SINK.port}", "--sender", f"{SENDER}:p256") as box:
        box.configure("set server default smtp max-messages-per-session 1000")
        with Smtp(box.port) as client:
            for path in files:
                replies[str(path.relative_to(CORPUS))] = client.mail(SENDER, ["dave@example.net"], prepared(path))
        accepted = sum(code == 250 for code, _ in replies.values())
        wait_until(lambda: len(SINK.messages) >= accepted, 60, f"{accepted} messages at the sink")
        ca = pathlib.Path(box.env["CA_FILE"]).read_bytes()
    pathlib.Path(CA).write_bytes(ca)
    arrived = {re.search(rb"X-Corpus: (\S+)", m).group(1).decode(): m for _, _, m in SINK.messages}
    return replies, arrived


DIRECTORY = tempfile.TemporaryDirectory()
CA = DIRECTORY.name + "/ca.pem"
SINK = Sink()
FILES = sorted(p for p in CORPUS.rglob("*.eml"))
REPLIES, ARRIVED = sent(FILES)
SIGNED = {name: m for name, m in ARRIVED.items() if is_signed(m.split(b"\r\n\r\n", 1)[0] + b"\r\n")}


@test
def every_message_has_a_clear_answer():
    counts = collections.Counter(re.sub(r"queued as .*", "queued", re.sub(r": .*", "", r)) for _, r in REPLIES.values())
    for reply, count in counts.most_common():
        print(f"   {count:4} {reply}")
    equal(len(REPLIES), len(FILES), "answers")
    strange = {n: r for n, (c, r) in REPLIES.items() if c != 250 and not re.match(r"55[04] 5\.[67]\.\d ", r)}
    equal(strange, {}, "answers that are neither 250 nor a reasoned refusal")
    if len(SIGNED) < 380:
        raise AssertionError(f"only {len(SIGNED)} of {len(FILES)} were signed")


@test
def what_was_signed_verifies():
    """Each checker takes each mail, but for what is wrong with the original's own outer header or MIME."""
    found = {}
    for name, report in zip(SIGNED, verdicts(list(SIGNED.values()), CA)):
        rules = {f["rule"] for f in report["findings"] if f["severity"] == "error"} - OF_THE_OUTER_HEADER
        failing = {c for c, v in report["checkers"].items() if v["verdict"] != "valid" and c != "lint"} | rules
        if failing:
            found[name] = failing
    for name, failing in found.items():
        if failing != EXPECTED_VERDICTS.get(name):
            print(f"   {name}: {sorted(failing)}")
    print(f"   {len(SIGNED)} messages by five verifiers")
    equal(found, EXPECTED_VERDICTS, "messages that a verifier does not take")


@test
def what_was_signed_carries_the_same_content():
    compare = module_of(shared() / "verify" / "compare").compare
    differences = {}
    for name, arrived in SIGNED.items():
        found = compare(prepared(CORPUS / name), arrived)
        if found:
            differences[name] = found
    for name in set(differences) - EXPECTED_DIFFERENCES:
        print(f"   {name}: {differences[name]}")
    equal(sorted(differences), sorted(EXPECTED_DIFFERENCES), "messages that differ")


@test
def what_was_relayed_plain_is_the_original():
    for name in set(ARRIVED) - set(SIGNED):
        plain = re.sub(rb"\AReceived:[^\r]*\r\n(?:[ \t][^\r]*\r\n)*", b"", ARRIVED[name])
        equal(plain, prepared(CORPUS / name), name)


if __name__ == "__main__":
    run()

#!/usr/bin/python3
"""/metrics and /healthz: true to what happens, in the format that Prometheus reads, and what is drawn and alarmed exists."""
import json
import pathlib
import re
import shutil
import subprocess
import time

from events import get, metrics, value
from inkan import ROOT, Sandbox, contains, crlf, equal, now, run, send, test, wait_until

SENDER = "alice@example.com"
MONITORING = ROOT / "image" / "monitoring"


def mail(sender=SENDER, text="hello"):
    return crlf(f"From: {sender}\nTo: bob@example.net\nSubject: x\nDate: {now()}\n\n{text}\n".encode())


@test
def numbers_follow_what_happens():
    with Sandbox("--sender", SENDER) as box:
        before = metrics(box)
        for _ in range(3):
            equal(send(box.port, SENDER, ["bob@example.net"], mail())[0], 250)
        equal(send(box.port, SENDER, ["bob@example.net"], mail("other@example.org"))[0], 250)
        equal(send(box.port, SENDER, ["bob@example.net"],
                   crlf(b"From: a@example.com\nFrom: b@example.com\nTo: x@y.example\n\nx\n"))[0], 550)
        box.maildir(4)
        wait_until(lambda: value(metrics(box), "inkan_delivery_results_total", result="delivered") == 4, 20, "deliveries")
        after = metrics(box)

        def rise(metric, **labels):
            return value(after, metric, **labels) - value(before, metric, **labels)

        equal(rise("inkan_messages_accepted_total", interface="smtp", rendering="signed"), 3)
        equal(rise("inkan_messages_accepted_total", interface="smtp", rendering="plain"), 1)
        equal(rise("inkan_messages_refused_total", interface="smtp", reason="sender_not_allowed"), 1)
        equal(rise("inkan_recipients_accepted_total", rendering="signed"), 3)
        equal(rise("inkan_signing_duration_seconds_count"), 3)
        equal(rise("inkan_signing_duration_seconds_bucket", le="+Inf"), 3)
        assert rise("inkan_signing_duration_seconds_sum") >= 0
        assert rise("inkan_smtp_sessions_total") >= 5
        equal(value(after, "inkan_hsm_workers"), 2)
        equal(value(after, "inkan_hsm_locked"), 0)
        wait_until(lambda: value(metrics(box), "inkan_queue_messages") == 0, 20, "an empty queue")
        equal(value(after, "inkan_store_state", state="ok"), 1)
        left = value(after, "inkan_certificate_not_after_timestamp_seconds", name=SENDER) - time.time()
        assert 0 < left < 5 * 366 * 86400, left
        bounds = [v for (n, l), v in after.items() if n == "inkan_signing_duration_seconds_bucket"]
        equal(bounds, sorted(bounds), "buckets are cumulative")
        if shutil.which("promtool"):
            text = get(box, "/metrics")[2]
            done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
            equal((done.returncode, done.stdout + done.stderr), (0, ""), "promtool")


@test
def health_is_that_mail_can_be_signed():
    with Sandbox("--sender", SENDER) as box:
        status, kind, body = get(box, "/healthz")
        equal((status, json.loads(body)), (200, {"status": "ok"}))
        contains(kind, "application/json")
        box.console("hsm logout")
        wait_until(lambda: get(box, "/healthz")[0] == 503, 20, "locked")
        contains(json.loads(get(box, "/healthz")[2])["reasons"][0], "signing is locked")
        equal(value(metrics(box), "inkan_hsm_locked"), 1)
        equal(send(box.port, SENDER, ["bob@example.net"], mail())[0], 451)
        equal(value(metrics(box), "inkan_messages_refused_total", interface="smtp", reason="signing_locked"), 1)
        box.configure("delete server default smime enabled")
        wait_until(lambda: get(box, "/healthz")[0] == 200, 20, "nobody signs")


@test
def other_requests_are_refused():
    with Sandbox() as box:
        equal(get(box, "/")[0], 404)
        equal(get(box, "/metrics", "POST")[0], 405)
        port = box.env["METRICS_PORT"]
        box.configure(f"delete system metrics listen 127.0.0.1:{port}")

        def closed():
            try:
                get(box, "/metrics")
            except ConnectionRefusedError:
                return True
            return False
        wait_until(closed, 20, "the listener is closed")
        contains(box.configure(f"set system metrics listen 127.0.0.1:{box.port}", ok=False), "another listener has this address")


@test
def what_is_drawn_and_alarmed_exists():
    with Sandbox() as box:
        known = {name for name, _ in metrics(box)}
        for path in MONITORING.glob("*"):
            used = set(re.findall(r"\binkan_[a-z_]+", path.read_text()))
            assert used, path
            equal(sorted(used - known), [], path.name)
    panels = json.loads((MONITORING / "inkan-dashboard.json").read_text())["panels"]
    equal(len({panel["id"] for panel in panels}), len(panels))
    if shutil.which("promtool"):
        rules = pathlib.Path(MONITORING, "inkan-alerts.yml")
        done = subprocess.run(["promtool", "check", "rules", rules], capture_output=True, text=True)
        equal(done.returncode, 0, done.stdout + done.stderr)


if __name__ == "__main__":
    run()

#!/usr/bin/python3
"""Webhooks: a receiver that is slow, wrong or away gets every event, signed, and mail never waits for it."""
import hashlib
import hmac
import http.server
import json
import os
import pathlib
import tempfile
import threading
import time
import urllib.parse

from events import BOUNCE, DELIVERY, Refuser, metrics, value
from inkan import Sandbox, contains, crlf, equal, now, run, send, test, wait_until
from next_hop import Certificates

SECRET, KEY = "wh-secret & more", "key=with&signs"


class Receiver:
    """Keeps what it is posted; answers as `answers` says, then 200."""

    def __init__(self, context=None):
        self.requests, self.answers, self.delay = [], [], 0
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                time.sleep(receiver.delay)
                status = receiver.answers.pop(0) if receiver.answers else 200
                receiver.requests.append((status, dict(self.headers), body))
                if status == "hang up":
                    self.close_connection = True
                    return
                self.send_response(status)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        if context:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"http{'s' if context else ''}://127.0.0.1:{self.server.server_address[1]}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def taken(self, kind="deliveries"):
        """Events of the requests that were answered with 200."""
        events = []
        for status, _, body in list(self.requests):
            fields = form(body)
            if status == 200 and fields["event_type"] == kind:
                events += json.loads(fields["event"])[kind]
        return events


def form(body):
    pairs = urllib.parse.parse_qsl(body.decode("ascii"), keep_blank_values=True, strict_parsing=True)
    equal(len(dict(pairs)), len(pairs))
    return dict(pairs)


def mail(to):
    return crlf(f"From: alice@example.com\nTo: {to}\nSubject: =?utf-8?b?5Y2w6ZGR?=\nDate: {now()}\n\nhello\n".encode())


def accept(box, *recipients):
    for to in recipients:
        begun = time.monotonic()
        equal(send(box.port, "alice@example.com", [to], mail(to))[0], 250)
        assert time.monotonic() - begun < 10, "mail waits for nobody"


def statuses(events, to):
    return [event["status"] for event in events if event["to"] == to]


@test
def events_come_signed_over_verified_tls():
    directory = tempfile.mkdtemp(prefix="inkan-tls-", dir="/etc")
    os.chmod(directory, 0o755)
    made = Certificates(directory, "localhost")
    with Sandbox() as box:
        receiver = Receiver(made.context)
        hook = f"server default webhook {receiver.url.replace('127.0.0.1', 'localhost')}"
        box.configure(f"set {hook}", f"set {hook} api-key", KEY, KEY, f"set {hook} secret", SECRET, SECRET)
        accept(box, "first@example.net")
        log = wait_until(lambda: "webhook.failed" in log_of(box) and log_of(box), 20, "TLS that is not trusted")
        contains(log, "certificate")
        equal(receiver.requests, [], "nothing is sent to whom nobody trusts")
        box.configure(f"set {hook} ca-file {made.ca}")
        accept(box, "second@example.net")
        wait_until(lambda: "succeeded" in statuses(receiver.taken(), "second@example.net"), 40, "events")
        equal(statuses(receiver.taken(), "first@example.net"), ["queued", "succeeded"], "kept meanwhile")
        status, headers, body = receiver.requests[0]
        fields = form(body)
        equal(list(fields), ["api_key", "server_composition", "event_type", "event"])
        equal((fields["api_key"], fields["server_composition"]), (KEY, "default"))
        equal(headers["Content-Type"], "application/x-www-form-urlencoded")
        event = json.loads(fields["event"])["deliveries"][0]
        equal(list(event), DELIVERY)
        equal(event["subject"], "印鑑")
        for _, headers, body in receiver.requests:
            stamp = headers["X-Inkan-Timestamp"]
            assert abs(time.time() - int(stamp)) < 120
            want = hmac.new(SECRET.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
            equal(headers["X-Inkan-Signature"], "v1=" + want)
            assert headers["X-Inkan-Delivery"].startswith("deliveries-")
        shown = box.console("show configuration")
        assert SECRET not in shown and KEY not in shown, "secrets are not shown"
        for path in pathlib.Path(box.box).rglob("*.db*"):
            assert SECRET.encode() not in path.read_bytes(), path


def log_of(box):
    return "".join(path.read_text(errors="replace") for path in pathlib.Path(box.box).glob("*.log"))


@test
def a_flaky_receiver_gets_every_event():
    with Sandbox() as box:
        receiver = Receiver()
        receiver.answers = [500, "hang up", 302, 404]
        box.configure(f"set server default webhook {receiver.url}", f"set server default webhook {receiver.url} batch 3",
                      f"set server default webhook {receiver.url} event deliveries")
        accept(box, *(f"user{n}@example.net" for n in range(5)))
        box.maildir(5)
        wait_until(lambda: len(receiver.taken()) >= 10, 60, "ten events")
        for n in range(5):
            equal(statuses(receiver.taken(), f"user{n}@example.net"), ["queued", "succeeded"])
        for status, headers, body in receiver.requests:
            assert len(json.loads(form(body)["event"])["deliveries"]) <= 3
            assert "api_key" not in form(body) and "X-Inkan-Signature" not in headers
        wait_until(lambda: value(metrics(box), "inkan_webhook_events_total") == 10, 20, "ten events counted")
        assert value(metrics(box), "inkan_webhook_failed_posts_total") >= 3  # a hang-up on a kept connection is tried again at once
        # a restart goes on where it was
        box.kill("inkan-relay")
        wait_until(lambda: send_if_up(box, "later@example.net"), 60, "the relay is back")
        wait_until(lambda: "succeeded" in statuses(receiver.taken(), "later@example.net"), 30, "after a restart")
        equal(statuses(receiver.taken(), "user0@example.net"), ["queued", "succeeded"], "nothing twice")


def send_if_up(box, to):
    try:
        return send(box.port, "alice@example.com", [to], mail(to))[0] == 250
    except OSError:
        return False


@test
def bounces_come_too_and_batches_wait_for_their_interval():
    with Sandbox("--next-hop", "127.0.0.1:9") as box:
        refusing, receiver = Refuser(), Receiver()
        box.configure("delete server default next-hop 127.0.0.1:9", f"set server default next-hop 127.0.0.1:{refusing.port} tls none",
                      f"set server default webhook {receiver.url} interval 3s",
                      f"set server default webhook {receiver.url} event bounces")
        begun = time.monotonic()
        accept(box, "bad@example.net")
        wait_until(lambda: receiver.taken("bounces"), 30, "a bounce")
        assert time.monotonic() - begun >= 2, "the interval was not waited for"
        bounce = receiver.taken("bounces")[0]
        equal(list(bounce), BOUNCE)
        equal((bounce["to"], bounce["status"]), ("bad@example.net", "failed"))
        equal(receiver.taken(), [], "deliveries were not asked for")


@test
def the_oldest_are_dropped_beyond_the_backlog():
    with Sandbox() as box:
        receiver = Receiver()
        receiver.answers = [503] * 1000
        box.configure(f"set server default webhook {receiver.url} backlog 100")
        wait_until(lambda: value(metrics(box), "inkan_configuration_revision") > 0, 5, "metrics")
        accept(box, *(f"user{n}@example.net" for n in range(70)))
        box.maildir(70, seconds=60)
        wait_until(lambda: value(metrics(box), "inkan_webhook_dropped_events_total") >= 40, 60, "dropped events")
        receiver.answers = []
        wait_until(lambda: "succeeded" in statuses(receiver.taken(), "user69@example.net"), 60, "the newest")
        assert len(receiver.taken()) <= 100, len(receiver.taken())


@test
def urls_are_checked():
    with Sandbox() as box:
        for url in ["http://example.net/", "ftp://example.net/", "https://", "https://user:pw@example.net/",
                    "http://127.0.0.1.example.net/", "https://example.net/#x"]:
            shown = box.configure(f"set server default webhook {url}", ok=False)
            contains(shown, "https://")


if __name__ == "__main__":
    run()

"""What the scenarios of events, metrics and webhooks share: members as documented, a next hop that refuses, a reader of metrics."""
import http.client
import re
import socket
import threading

from inkan import equal

DELIVERY = ["created", "returnPath", "from", "to", "messageId", "reason", "senderIp", "sourceIp", "status", "subject", "apiData"]
BOUNCE = ["created", "status", "from", "to", "messageId", "returnPath", "subject", "apiData", "reason"]
STATISTICS = ["date", "queued", "succeeded", "failed", "blocked", "valid"]
SAMPLE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*",?)+)\})? (-?[0-9.e+]+|\+Inf)')
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"')


class Refuser:
    """A next hop that knows no recipient."""

    def __init__(self):

        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client = self.listener.accept()[0]
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    @staticmethod
    def serve(client):
        file = client.makefile("rb")
        client.sendall(b"220 refuser\r\n")
        for line in file:
            word = line[:4].upper()
            client.sendall({b"EHLO": b"250 refuser\r\n", b"RCPT": b"550 5.1.1 no such user\r\n", b"QUIT": b"221 bye\r\n"}
                           .get(word, b"250 ok\r\n"))


def get(box, path, method="GET"):
    connection = http.client.HTTPConnection("127.0.0.1", int(box.env["METRICS_PORT"]), timeout=20)
    connection.request(method, path)
    reply = connection.getresponse()
    body = reply.read().decode()
    connection.close()
    return reply.status, reply.getheader("Content-Type"), body


def parse(text):
    """{(name, labels): value}, and the type of each family; every rule of the format is checked."""
    samples, types, helps, seen = {}, {}, {}, []
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# HELP "):
            name, helps_text = line[7:].split(" ", 1)
            assert name not in helps and helps_text.endswith("."), line
            helps[name] = helps_text
            seen.append(name)
        elif line.startswith("# TYPE "):
            name, kind = line[7:].split(" ")
            assert name == seen[-1] and kind in ("counter", "gauge", "histogram"), line
            assert name.startswith("inkan_") and (kind == "counter") == name.endswith("_total"), line
            types[name] = kind
        else:
            match = SAMPLE.fullmatch(line)
            assert match, line
            name = match[1]
            family = re.sub("_(bucket|sum|count)$", "", name) if name not in types else name
            assert family == seen[-1], f"{line}: not below its family"
            labels = tuple(LABEL.findall(match[2] or ""))
            assert (name, labels) not in samples, f"{line}: twice"
            samples[name, labels] = float(match[3].replace("+Inf", "inf"))
    assert set(types) == set(helps)
    return samples, types


def metrics(box):
    status, kind, text = get(box, "/metrics")
    equal(status, 200)
    equal(kind, "text/plain; version=0.0.4; charset=utf-8")
    return parse(text)[0]


def value(samples, metric, **labels):
    found = [v for (n, l), v in samples.items() if n == metric and labels.items() <= dict(l).items()]
    equal(len(found), 1, f"{metric} {labels}")
    return found[0]

"""Next hops that speak TLS and AUTH or offer little, and a small DNS server, all on loopback."""
import base64
import contextlib
import os
import socket
import ssl
import struct
import subprocess
import threading

from inkan import Sink, path_of


class Certificates:
    """A CA and a server certificate made by it, for a name."""

    def __init__(self, directory, name="mx.example.net"):
        def openssl(*words):
            subprocess.run(["openssl", *words], cwd=directory, check=True, capture_output=True)

        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "ca.key", "-out",
                "ca.pem", "-subj", "/CN=Test CA", "-days", "30")
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "server.key", "-out",
                "server.csr", "-subj", f"/CN={name}")
        with open(os.path.join(directory, "ext"), "w", encoding="ascii") as file:
            file.write(f"subjectAltName=DNS:{name}\n")
        openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", "server.pem",
                "-days", "30", "-extfile", "ext")
        self.ca = os.path.join(directory, "ca.pem")
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(os.path.join(directory, "server.pem"), os.path.join(directory, "server.key"))
        der = subprocess.run(["openssl", "x509", "-in", "server.pem", "-outform", "DER"], cwd=directory, check=True,
                             capture_output=True).stdout
        digest = subprocess.run(["openssl", "dgst", "-sha256", "-r"], input=der, check=True, capture_output=True).stdout
        self.pin = "sha256:" + digest.decode().split()[0]


class Hop(Sink):
    """A next hop: `offers` are its EHLO keywords; `tls` a context (STARTTLS, or at once with `implicit`); `login` (user,
    password) is demanded before MAIL. Counts connections, encrypted messages and logins; keeps the commands it saw."""

    def __init__(self, port=0, host="127.0.0.1", offers=("PIPELINING", "8BITMIME"), tls=None, implicit=False, login=None,
                 mechanisms="PLAIN LOGIN", break_tls=False):
        self.host, self.offers, self.tls, self.implicit, self.login = host, offers, tls, implicit, login
        self.mechanisms, self.break_tls = mechanisms, break_tls
        self.connections = self.encrypted = self.logins = 0
        self.commands = []
        super().__init__(port)

    def open(self):
        self.listener = socket.create_server((self.host, self.port), backlog=200)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, args=(self.listener,), daemon=True).start()

    def serve(self, connection):
        with contextlib.suppress(OSError, ValueError):
            self.connections += 1
            encrypted = self.implicit
            if self.implicit:
                connection = self.tls.wrap_socket(connection, server_side=True)
            file = connection.makefile("rwb")
            greet = True
            while self.talk(file, encrypted, greet) == "STARTTLS":
                if self.break_tls:
                    connection.sendall(b"no TLS here\r\n")
                    connection.close()
                    return
                connection = self.tls.wrap_socket(connection, server_side=True)
                file, encrypted, greet = connection.makefile("rwb"), True, False
            connection.close()

    def talk(self, file, encrypted, greet):
        def reply(text):
            file.write(text.encode() + b"\r\n")
            file.flush()

        def ask(text):
            reply("334 " + base64.b64encode(text.encode()).decode())
            return base64.b64decode(file.readline()).decode()

        sender, recipients, logged_in = None, [], self.login is None
        if greet:
            reply("220 hop.example ESMTP")
        while line := file.readline():
            self.commands.append(line.decode("utf-8", "replace").rstrip("\r\n"))
            words = line.decode("utf-8", "replace").split()
            verb = words[0].upper() if words else ""
            refusal = next((text for start, text in list(self.answer.items()) if line.startswith(start)), None)
            if refusal:
                reply(refusal)
            elif verb == "EHLO":
                lines = ["hop.example", *self.offers]
                lines += ["STARTTLS"] if self.tls and not encrypted else []
                lines += ["AUTH " + self.mechanisms] if self.login else []
                reply("\r\n".join(f"250{'-' if i < len(lines) - 1 else ' '}{text}" for i, text in enumerate(lines)))
            elif verb == "STARTTLS":
                reply("220 2.0.0 Go ahead")
                return verb
            elif verb == "AUTH":
                if words[1].upper() == "PLAIN":
                    _, user, password = base64.b64decode(words[2]).decode().split("\0")
                else:
                    user, password = ask("Username:"), ask("Password:")
                logged_in = (user, password) == self.login
                self.logins += logged_in
                reply("235 2.7.0 Welcome" if logged_in else "535 5.7.8 Wrong password")
            elif verb == "MAIL":
                sender, recipients = path_of(line), []
                reply("250 2.1.0 Ok" if logged_in else "530 5.7.0 Log in first")
            elif verb == "RCPT":
                recipients.append(path_of(line))
                reply("250 2.1.5 Ok")
            elif verb == "DATA":
                reply("354 Go on")
                message = self.data(file)
                with self.lock:
                    self.messages.append((sender, recipients, message))
                    self.encrypted += encrypted
                reply("250 2.0.0 Kept")
            elif verb == "QUIT":
                reply("221 2.0.0 Bye")
                return verb
            else:
                reply("250 2.0.0 Ok")
        return None


class Dns:
    """A name server: records[(NAME, TYPE)] = list of data, "192.0.2.1" for A, (preference, host) for MX, a name for CNAME.
    A name that it does not know at all does not exist; `silent` makes it answer nothing. Counts queries."""

    TYPES = {1: "A", 5: "CNAME", 15: "MX", 28: "AAAA"}

    def __init__(self, records):
        self.records, self.silent, self.queries = records, False, 0
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            query, client = self.socket.recvfrom(4096)
            self.queries += 1
            if not self.silent:
                self.socket.sendto(self.answer(query), client)

    @staticmethod
    def encode(name):
        return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".") if label) + b"\0"

    def answer(self, query):
        at, labels = 12, []
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode())
            at += 1 + query[at]
        question = query[12:at + 5]
        kind = self.TYPES.get(struct.unpack(">H", query[at + 1:at + 3])[0], "?")
        name, records = ".".join(labels).lower(), []
        while (name, "CNAME") in self.records and kind != "CNAME":
            target = self.records[name, "CNAME"][0]
            records.append((name, 5, self.encode(target)))
            name = target
        for data in self.records.get((name, kind), []):
            if kind == "MX":
                records.append((name, 15, struct.pack(">H", data[0]) + self.encode(data[1])))
            elif kind == "A":
                records.append((name, 1, socket.inet_aton(data)))
        known = records or any(name == known for known, _ in self.records)
        head = query[:2] + struct.pack(">HHHHH", 0x8580 | (0 if known else 3), 1, len(records), 0, 0)
        body = b"".join(self.encode(owner) + struct.pack(">HHIH", number, 1, 60, len(data)) + data
                        for owner, number, data in records)
        return head + question + body

#!/usr/bin/python3
"""The sending API as the service's own clients use it (../shared/reference/api.md), and as clients that it should not trust do."""
import concurrent.futures
import email
import email.policy
import json
import os
import pathlib
import socket
import subprocess
import tempfile
import time
import urllib.parse
import uuid

from inkan import SANITIZED, Sandbox, Sink, contains, equal, is_signed, run, short_lived, test, verify, wait_until

SENDER, PLAIN = "sender@example.com", "nobody@example.com"
SINK = Sink()
BOX = Sandbox("--next-hop", f"127.0.0.1:{SINK.port}", "--sender", f"{SENDER}:p256")
LOGIN = {"api_user": BOX.env["API_USER"], "api_key": BOX.env["API_KEY"]}
PATH = "/api/v2/emails/send.json"
BASE = {"to": "to@example.net", "from": {"name": "", "address": SENDER}, "subject": "Hello", "text": "Hello\n"}


def post(body, content_type, path=PATH, headers=None, connection=None):
    """-> (status, headers, decoded JSON or None)."""
    client = connection or BOX.api()
    client.request("POST", path, body, {"Content-Type": content_type, **(headers or {})})
    reply = client.getresponse()
    octets = reply.read()
    if connection is None:
        client.close()
    return reply.status, reply.headers, json.loads(octets) if octets else None


def post_json(fields, **options):
    return post(json.dumps({**LOGIN, **fields}), "application/json", **options)


def multipart(fields, files=()):
    """fields: {name: text}; files: [(field, file name, type, octets)] -> (body, Content-Type)."""
    boundary = uuid.uuid4().hex
    out = b""
    for name, value in fields.items():
        out += f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
    for name, file, kind, octets in files:
        out += (f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="{file}"\r\nContent-Type: {kind}\r\n\r\n'
                ).encode() + octets + b"\r\n"
    return out + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def arrived(reply):
    """The mail of a 200, as (envelope recipients, octets, parsed)."""
    status, _, body = reply
    equal(status, 200, body)
    equal(list(body), ["id"])
    equal((body["id"][0], body["id"][-1]), ("<", ">"), body)
    found = []

    def there():
        found[:] = [m for m in SINK.messages if body["id"].encode() in m[2].split(b"\r\n\r\n")[0]]
        return bool(found)

    wait_until(there, 20, f"mail {body}")
    return found[0][1], found[0][2], email.message_from_bytes(found[0][2], policy=email.policy.default)


def refused(reply, status, code, field=None):
    equal(reply[0], status, reply[2])
    errors = reply[2]["errors"]
    for error in errors:
        equal(sorted(error), ["code", "field", "message"])
        equal({type(v) for v in error.values()}, {str})
        equal(error["message"] != "" and error["code"] != "", True)
    if (code, field if field is not None else errors[0]["field"]) not in [(e["code"], e["field"]) for e in errors]:
        raise AssertionError(f"{errors} does not name {code} {field}")


def leaves(message):
    return [p for p in message.walk() if not p.is_multipart() and p.get_content_type() != "application/pkcs7-signature"]


@test
def mail_of_each_content_type_is_signed_and_read_back():
    fields = {**BASE, "subject": "日本語の件名、長いので折り返す必要があるもの、そしてさらに長く", "text": "こんにちは\r\n世界\n", "html": "<p>こんにちは</p>",
              "to": [{"name": "山田, 太郎", "address": "yamada@example.net"}, {"name": "", "address": "b@example.net"}],
              "cc": "c@example.net", "bcc": "hidden@example.net", "replyto": {"name": "", "address": "r@example.net"},
              "headers": [{"name": "X-Api-Data", "value": "値 1"}], "envfrom": "bounce@example.com"}
    text = {k: v if isinstance(v, str) else json.dumps(v) for k, v in {**LOGIN, **fields}.items()}
    replies = [post_json(fields), post(urllib.parse.urlencode(text), "application/x-www-form-urlencoded; charset=UTF-8"),
               post(*multipart(text)), post_json({**fields, "charset": "ISO-2022-JP"}), post_json(fields, path="/api/v1/emails/send.json")]
    mails = [arrived(reply) for reply in replies]
    for recipients, octets, message in mails:
        equal(sorted(recipients), ["b@example.net", "c@example.net", "hidden@example.net", "yamada@example.net"])
        equal(message["Subject"], fields["subject"])
        equal(message["To"].addresses[0].display_name, "山田, 太郎")
        equal(message["Reply-To"], "r@example.net")
        equal(message["X-Api-Data"], "値 1")
        equal(b"hidden" in octets, False, "Bcc shows")
        equal([p.get_content_type() for p in leaves(message)], ["text/plain", "text/html"])
        equal(leaves(message)[0].get_content().split(), ["こんにちは", "世界"])
        equal(message["Message-ID"].endswith(">") and message["Date"] is not None, True)
    verify([octets for _, octets, _ in mails], BOX.env["CA_FILE"])
    contains(mails[3][1], b"charset=ISO-2022-JP\r\nContent-Transfer-Encoding: 7bit")


@test
def attachments_arrive_as_they_were():
    files = [("attachment1", "logo.png", "image/png", os.urandom(70000)), ("attachment2", "長い名前のファイル、折り返しが必要.pdf", "application/pdf", os.urandom(57)),
             ("attachment3", "empty.txt", "text/plain", b""), ("attachment4", "..\\..\\x.bin", "no type", b"\r\n--x\r\n"),
             ("attachment10", "mail.eml", "message/rfc822", b"Subject: x\r\n\r\ny\r\n")]
    fields = {**{k: v if isinstance(v, str) else json.dumps(v) for k, v in {**LOGIN, **BASE}.items()}, "attachments": str(len(files)),
              "html": '<img src="cid:logo.png">'}
    _, octets, message = arrived(post(*multipart(fields, files)))
    got = {p.get_filename(): p for p in leaves(message) if p.get_filename()}
    equal(list(got), ["logo.png", "長い名前のファイル、折り返しが必要.pdf", "empty.txt", "x.bin", "mail.eml"])
    for (_, name, _, content), part in zip(files, got.values()):
        equal(part.get_payload(decode=True), content, name)
    equal(got["logo.png"]["Content-ID"], "<logo.png>")
    equal([p.get_content_subtype() for p in message.walk() if p.is_multipart()], ["signed", "mixed", "alternative", "related"])
    equal(got["mail.eml"].get_content_type(), "application/octet-stream")
    verify([octets], BOX.env["CA_FILE"])
    refused(post(*multipart({**fields, "attachments": "3"}, files)), 400, "10-009", "attachments")
    refused(post(*multipart(fields, [(f"attachment{i % 10 + 1}", "x", "a/b", b"") for i in range(11)])), 400, "10-004", "attachments")


@test
def large_attachments_stream():
    big = os.urandom(20 << 20)
    fields = {k: v if isinstance(v, str) else json.dumps(v) for k, v in {**LOGIN, **BASE}.items()}
    pid = BOX.processes("inkan-relay")[0]
    before = peak(pid)
    _, _, message = arrived(post(*multipart(fields, [("attachment1", "big.bin", "application/octet-stream", big)])))
    equal(leaves(message)[1].get_payload(decode=True) == big, True, "the attachment")
    grown = peak(pid) - before
    if grown > 12 << 20 and not SANITIZED:
        raise AssertionError(f"the relay grew by {grown >> 20} MB")


def peak(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmHWM"))


@test
def faults_are_named():
    refused(post_json({**BASE, "to": "nobody"}), 400, "10-005", "to")
    refused(post_json({**BASE, "from": None}), 400, "10-001", "from")
    refused(post_json({**BASE, "headers": {"Received": "x"}}), 400, "10-008", "headers")
    refused(post_json({**BASE, "subject": "x\r\nBcc: y@example.net"}), 400, "10-006", "subject")
    refused(post_json({**BASE, "charset": "ISO-2022-JP", "text": "①"}), 400, "10-007", "text")
    refused(post("{", "application/json"), 400, "10-010")
    refused(post("[]", "application/json"), 400, "10-010")
    refused(post('{"api_user":"a","api_user":"b","to":"\\ud800"}', "application/json"), 400, "10-010")
    refused(post("", "application/json"), 400, "10-010")
    refused(post("x=%zz", "application/x-www-form-urlencoded"), 400, "10-010")
    refused(post("--b\r\n", "multipart/form-data; boundary=b"), 400, "10-010")
    refused(post("x", "text/plain"), 415, "12-003")
    refused(post("{}", "application/json", path="/api/v2/nothing.json"), 404, "12-002")
    refused(post_json({**BASE, "text": "x" * (13 << 20)}), 413, "12-004")
    equal(post_json({}, headers={"Accept-Language": "ja"})[2]["errors"][0]["message"], "必須項目です")
    client = BOX.api()
    client.request("GET", PATH)
    reply = client.getresponse()
    refused((reply.status, reply.headers, json.loads(reply.read())), 405, "12-001")


@test
def wrong_keys_are_refused_slowly():
    for wrong in ({"api_key": "wrong"}, {"api_user": "nobody"}, {"api_key": ""}):
        began = time.monotonic()
        status = 400 if wrong.get("api_key") == "" else 401
        refused(post_json({**BASE, **wrong}), status, "10-001" if status == 400 else "11-001")
        if status == 401 and time.monotonic() - began < 0.9:
            raise AssertionError("a wrong key was answered at once")
    waits = []
    for _ in range(3):
        began = time.monotonic()
        refused(post_json({**BASE, "api_key": "wrong"}), 401, "11-001")
        waits.append(time.monotonic() - began)
    if waits[2] < 3.9:
        raise AssertionError(f"wrong keys do not wait longer each time: {waits}")
    arrived(post_json(BASE))  # and is forgiven
    BOX.configure("delete server default user " + LOGIN["api_user"])
    refused(post_json(BASE), 401, "11-001")  # it was right before: nothing is remembered beyond the configuration
    BOX.configure("rollback 1")
    arrived(post_json(BASE))


@test
def policy_is_that_of_smtp():
    _, octets, _ = arrived(post_json({**BASE, "from": PLAIN}))
    equal(is_signed(octets), False)
    _, octets, _ = arrived(post_json({**BASE, "to": "a..b@docomo.ne.jp"}))
    equal(is_signed(octets), False, "a carrier's recipient")
    BOX.configure("set server default smime unsigned-sender refuse")
    refused(post_json({**BASE, "from": PLAIN}), 400, "13-002", "from")
    BOX.configure("delete server default smime unsigned-sender")


@test
def expired_certificates_say_so():
    with tempfile.TemporaryDirectory(prefix="inkan-expired-") as directory:
        file = short_lived("short@example.com", 12, directory)
        BOX.console(f"certificate import short@example.com {file}", stdin="secret\n")
        BOX.configure("set server default smime certificate short@example.com")
    wait_until(lambda: post_json({**BASE, "from": "short@example.com"})[0] == 400, 40, "the certificate's end")
    reply = post_json({**BASE, "from": "short@example.com"})
    refused(reply, 400, "13-003", "from")
    equal(reply[2]["errors"][0]["message"], "S/MIME certificate is expired")


def raw(octets, wait=3.0):
    """Everything that comes back until the server closes or is silent for `wait` seconds, and whether it closed."""
    with BOX.api_socket(wait) as s:
        s.sendall(octets)
        out = b""
        try:
            while piece := s.recv(65536):
                out += piece
        except TimeoutError:
            return out, False
        return out, True


def request(body=b"{}", line=f"POST {PATH} HTTP/1.1", headers=("Host: x", "Content-Type: application/json"), length=True):
    head = [line, *headers] + ([f"Content-Length: {len(body)}"] if length else [])
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


@test
def what_two_readers_could_take_differently_is_refused():
    cases = {
        "two Content-Length": request(headers=("Host: x", "Content-Type: application/json", "Content-Length: 2")),
        "the same twice": request(headers=("Host: x", "Content-Length: 2", "Content-Length: 2"), length=False),
        "length list": request(headers=("Host: x", "Content-Length: 2, 2"), length=False),
        "length +2": request(headers=("Host: x", "Content-Length: +2"), length=False),
        "length and chunked": request(headers=("Host: x", "Transfer-Encoding: chunked")),
        "other coding": request(headers=("Host: x", "Transfer-Encoding: gzip, chunked"), length=False),
        "coding with blanks": request(headers=("Host: x", "Transfer-Encoding : chunked"), length=False),
        "coding of its own": request(headers=("Host: x", "Transfer-Encoding: xchunked"), length=False),
        "bare LF": request().replace(b"\r\nHost", b"\nHost"),
        "bare LF at the end of the head": request(b"").replace(b"\r\n\r\n", b"\n\n"),
        "folded": request(headers=("Host: x", "Content-Type: application/json", " more")),
        "no Host": request(headers=("Content-Type: application/json",)),
        "two Hosts": request(headers=("Host: x", "Host: y")),
        "blank before colon": request(headers=("Host : x",)),
        "HTTP/2": request(line=f"POST {PATH} HTTP/2.0"),
        "HTTP/0.9": f"GET {PATH}\r\n\r\n".encode(),
        "no HTTP": b"EHLO client.example\r\n\r\n",
        "NUL": request(headers=("Host: x", "X: a\0b")),
        **{name: request(chunks, headers=("Host: x", "Content-Type: application/json", "Transfer-Encoding: chunked"), length=False)
           for name, chunks in {
            "chunk without its CRLF": b"2\r\n{}XX0\r\n\r\n",
            "chunk that ends in LF": b"2\r\n{}\n0\r\n\r\n",
            "size that ends in LF": b"2\n{}\r\n0\r\n\r\n",
            "last size that ends in LF": b"2\r\n{}\r\n0\n\r\n",
            "last line that is LF": b"2\r\n{}\r\n0\r\n\n",
            "trailer that ends in LF": b"2\r\n{}\r\n0\r\nA: b\n\r\n",
            "extension with a lone CR": b"2;a=\rb\r\n{}\r\n0\r\n\r\n",
            "size of 2^60": b"1000000000000002\r\n{}\r\n0\r\n\r\n",
            "long extension": b"2;" + b"x" * 300 + b"\r\n{}\r\n0\r\n\r\n"}.items()},
        "chunk size": request(b"zz\r\n{}\r\n0\r\n\r\n", headers=("Host: x", "Content-Type: application/json", "Transfer-Encoding: chunked"), length=False),
    }
    for name, octets in cases.items():
        out, closed = raw(octets + b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n")
        if not out.startswith(b"HTTP/1.1 400 ") or not closed or out.count(b"HTTP/1.1 ") != 1:
            raise AssertionError(f"{name}: {out[:200]} closed={closed}")
        refused((400, None, json.loads(out.split(b"\r\n\r\n", 1)[1])), 400, json.loads(out.split(b"\r\n\r\n", 1)[1])["errors"][0]["code"])


@test
def coded_bodies_and_files_of_other_names_are_refused():
    out, closed = raw(request(headers=("Host: x", "Content-Type: application/json", "Content-Encoding: gzip")))
    equal((out[:12], closed), (b"HTTP/1.1 415", True))
    for name in ("attachment0", "attachment11", "attachment", "file"):
        body = (f'--b\r\nContent-Disposition: form-data; name="{name}"; filename="a.txt"\r\n\r\nlost?\r\n--b--\r\n').encode()
        out, _ = raw(request(body, headers=("Host: x", "Content-Type: multipart/form-data; boundary=b", "Connection: close")))
        contains(out.decode(), '"code":"10-009"')
        contains(out.decode(), f'"field":"{name}"')


@test
def heads_and_bodies_have_bounds():
    out, closed = raw(b"POST / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * (64 << 10))
    equal((out[:12], closed), (b"HTTP/1.1 400", True))
    out, closed = raw(b"POST / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 200 + b"\r\n")
    equal((out[:12], closed), (b"HTTP/1.1 400", True))
    out, closed = raw(request(headers=("Host: x", "Content-Type: application/json", "Content-Length: 99999999999"), length=False))
    equal((out[:12], closed), (b"HTTP/1.1 413", True))


@test
def connections_are_kept_and_requests_may_be_pipelined():
    client = BOX.api()
    for _ in range(3):
        equal(post_json(BASE, connection=client)[0], 200)
        equal(post_json({}, connection=client)[0], 400)
    client.close()
    body = json.dumps({**LOGIN, **BASE}).encode()
    out, _ = raw(request(body) * 3)
    equal(out.count(b"HTTP/1.1 200 OK"), 3, out)
    out, closed = raw(request(body, line=f"POST {PATH} HTTP/1.0", headers=("Content-Type: application/json",)))
    equal((out.count(b"HTTP/1.1 200 OK"), closed), (1, True))
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(body[i:i + 7]), body[i:i + 7]) for i in range(0, len(body), 7)) + b"0\r\n\r\n"
    out, _ = raw(request(chunks, headers=("Host: x", "Content-Type: application/json", "Transfer-Encoding: chunked"), length=False))
    equal(out.count(b"HTTP/1.1 200 OK"), 1, out)


@test
def octets_may_come_one_by_one_and_100_continue_is_said():
    body = json.dumps({**LOGIN, **BASE}).encode()
    with BOX.api_socket(20) as s:
        head, rest = request(body, headers=("Host: x", "Content-Type: application/json", "Expect: 100-continue")).split(b"\r\n\r\n", 1)
        for octet in head + b"\r\n\r\n":
            s.sendall(bytes([octet]))
        equal(s.recv(100), b"HTTP/1.1 100 Continue\r\n\r\n")
        for octet in rest:
            s.sendall(bytes([octet]))
        contains(s.recv(1000), b"HTTP/1.1 200 OK")


@test
def a_hundred_senders_at_once_are_all_answered():
    before = len(SINK.messages)

    def one(number):
        while True:
            status, _, body = post_json({**BASE, "subject": f"n{number}"})
            if status != 429:
                return status, body
            time.sleep(0.05)

    with concurrent.futures.ThreadPoolExecutor(100) as pool:
        replies = list(pool.map(one, range(300)))
    equal({status for status, _ in replies}, {200})
    equal(len({body["id"] for _, body in replies}), 300)
    wait_until(lambda: len(SINK.messages) - before >= 300, 30, "300 mails")


@test
def slow_clients_do_not_take_every_connection():
    BOX.configure("set server default api max-connections-per-client 20")
    port = int(BOX.env["API_PORT"])
    slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(60)]
    time.sleep(0.5)
    held = sum(is_open(s) for s in slow)
    with socket.socket() as other:
        other.bind(("127.0.0.2", 0))
        other.connect(("127.0.0.1", port))
        equal(is_open(other), True, "another client's connection")
    for s in slow:
        s.close()
    equal(held, 20)
    BOX.configure("delete server default api max-connections-per-client")
    wait_until(lambda: quietly_post() == 200, 10, "an answer")


def is_open(s):
    s.settimeout(0.05)
    try:
        return s.recv(1) != b""
    except TimeoutError:
        return True
    except OSError:
        return False


def quietly_post():
    try:
        return post_json(BASE)[0]
    except OSError:
        return 0


@test
def a_broken_body_is_not_quoted():
    reply = post('{"api_user":"u","api_key" "secret-key"}', "application/json")
    refused(reply, 400, "10-010")
    equal("secret-key" in json.dumps(reply[2]), False, reply[2])


@test
def clients_that_vanish_leave_nothing():
    body = json.dumps({**LOGIN, **BASE}).encode()
    for cut in (10, 100, 150, len(request(body)) - 1):
        with BOX.api_socket() as s:
            s.sendall(request(body)[:cut])
    big, kind = multipart(LOGIN, [("attachment1", "x", "a/b", bytes(1 << 20))])
    for cut in (1000, 100000, len(big) - 10):
        with BOX.api_socket() as s:
            s.sendall(request(big, headers=("Host: x", f"Content-Type: {kind}"))[:cut])
    with BOX.api_socket() as s:
        s.sendall(request(body))  # gone before the answer
    arrived(post_json(BASE))
    spool = pathlib.Path(BOX.directory) / "mail" / "spool"
    wait_until(lambda: not any(p.is_file() for p in spool.rglob("*")), 10, "an empty spool")


@test
def curl_sends_as_well():
    with tempfile.NamedTemporaryFile(suffix=".bin") as file:
        file.write(b"attached")
        file.flush()
        fields = {**{k: v if isinstance(v, str) else json.dumps(v) for k, v in {**LOGIN, **BASE}.items()}, "attachments": "1"}
        forms = sum((["--form-string", f"{k}={v}"] for k, v in fields.items()), [])
        out = subprocess.run(["curl", "-sS", "--cacert", BOX.env["CA_FILE"], *forms, "-F", f"attachment1=@{file.name};filename=a.bin", BOX.env["API_URL"] + PATH],
                             capture_output=True, text=True, check=True).stdout
    _, _, message = arrived((200, None, json.loads(out)))
    equal(leaves(message)[1].get_payload(decode=True), b"attached")


@test
def a_locked_token_is_503_with_retry_after():  # the last one: nothing unlocks it
    client = BOX.api()  # a new one has no handshake without the token
    equal(post_json({}, connection=client)[0], 400)
    BOX.console("hsm logout")
    status, headers, body = post_json(BASE, connection=client)
    equal(status, 503, body)
    equal(int(headers["Retry-After"]) > 0, True)
    contains(body["errors"][0]["message"], "Signing is locked")
    arrived(post_json({**BASE, "from": PLAIN}, connection=client))
    client.close()


run()

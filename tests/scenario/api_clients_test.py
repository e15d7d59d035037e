#!/usr/bin/python3
"""The sending API by real HTTP clients, and by requests with the octets that the service's client libraries put on the wire.

Those were recorded from the libraries themselves (../shared/reference/api.md §4 names them): the order of head and part fields,
boundaries, what is left out, and what is a string that holds JSON.
"""
import email
import email.policy
import json
import os
import pathlib
import subprocess
import tempfile
import urllib.request

import requests

import gi
gi.require_version("GMime", "3.0")
from gi.repository import GMime  # noqa: E402

from inkan import Sandbox, Sink, contains, equal, run, test, verify, wait_until

SENDER = "sender@example.com"
SINK = Sink()
BOX = Sandbox("--next-hop", f"127.0.0.1:{SINK.port}", "--sender", f"{SENDER}:p256")
GMime.init()
USER, KEY, CA = BOX.env["API_USER"], BOX.env["API_KEY"], BOX.env["CA_FILE"]
PATH = "/api/v2/emails/send.json"
URL = BOX.env["API_URL"] + PATH
FILE, PNG = "添付 1.txt", bytes(range(256)) + b"\r\n--x\r\n"
TO, FROM = [{"name": "山田", "address": "to@example.net"}], {"name": "送信", "address": SENDER}


def mail_of(identity):
    found = []

    def there():
        found[:] = [m for m in SINK.messages if identity.encode() in m[2].split(b"\r\n\r\n")[0]]
        return bool(found)

    wait_until(there, 20, f"mail {identity}")
    return found[0][1], found[0][2]


def answer(octets):
    """Of one whole HTTP reply: what each library does with it. A success is 200 and an object of strings alone."""
    head, body = octets.split(b"\r\n\r\n", 1)
    equal(head.split(b"\r\n")[0], b"HTTP/1.1 200 OK", body)
    reply = json.loads(body)
    equal({type(v) for v in reply.values()}, {str})
    return reply["id"]


def exchange(head, body):
    with BOX.api_socket() as s:
        s.sendall("\r\n".join([f"POST {PATH} HTTP/1.1", *head, f"Content-Length: {len(body)}"]).encode() + b"\r\n\r\n" + body)
        out = b""
        while not (b"\r\n\r\n" in out and len(out.split(b"\r\n\r\n", 1)[1]) >= length(out)):
            piece = s.recv(65536)
            if piece == b"":
                break
            out += piece
        return out


def length(reply):
    return next(int(line.split(b":")[1]) for line in reply.split(b"\r\n") if line.lower().startswith(b"content-length:"))


def parts(boundary, fields, files, end=b"\r\n", text_head=lambda value: "", file_head=lambda kind, octets: f"\r\nContent-Type: {kind}"):
    """multipart/form-data as a library writes it: the further fields of a part's head are the library's."""
    out = b""
    for name, value in fields.items():
        out += f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{text_head(value)}\r\n\r\n{value}\r\n'.encode()
    for name, file, kind, octets in files:
        out += f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="{file}"{file_head(kind, octets)}\r\n\r\n'.encode()
        out += octets + b"\r\n"
    return out + f"--{boundary}--".encode() + end


FILES = [("attachment1", FILE, "text/plain", b"hello\n"), ("attachment2", "a.png", "image/png", PNG)]


def dumps(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def node():
    """superagent 5: JSON with empty lists and a null; with files every object as a string, the boundary of form-data."""
    fields = {"api_user": USER, "api_key": KEY, "to": TO, "cc": [], "bcc": [], "from": FROM, "subject": "件名", "text": "本文"}
    head = ["Host: localhost", "Accept-Encoding: gzip, deflate"]
    more = {"charset": "UTF-8", "headers": {"X-Api-Data": "n1"}, "replyto": "r@example.com"}
    html = {**fields, "text": None, "html": "<p>x</p>", **more}
    text = {k: v if isinstance(v, (str, int)) else dumps(v) for k, v in {**fields, **more, "attachments": 2}.items()}
    boundary = "--------------------------8d31be2a866d48fce5970a3a"
    yield "json", head + ["Content-Type: application/json"], dumps(fields).encode()
    yield "html", head + ["Content-Type: application/json"], dumps(html).encode()
    yield "files", head + [f"content-type: multipart/form-data; boundary={boundary}", "Connection: close"], parts(boundary, text, FILES)


def ruby():
    """Net::HTTP and multipart-post 2: only to and from are JSON strings, a Content-Transfer-Encoding, an empty line at the end."""
    fields = {"api_user": USER, "api_key": KEY, "to": TO, "from": FROM, "subject": "件名", "text": "本文", "headers": [],
              "charset": "UTF-8"}
    head = ["Accept-Encoding: gzip;q=1.0,deflate;q=0.6,identity;q=0.3", "Accept: application/json", "User-Agent: Ruby"]
    boundary = "-----------RubyMultipartPost"
    text = {**fields, "to": dumps(TO), "from": dumps(FROM), "headers": "", "attachments": 2}
    yield "json", head + ["Content-Type: application/json", "Connection: close", "Host: localhost"], dumps(fields).encode()
    yield "files", head + [f"Content-Type: multipart/form-data; boundary={boundary}", "Connection: close", "Host: localhost"], parts(
        boundary, text, FILES, b"\r\n\r\n", file_head=lambda kind, octets:
        f"\r\nContent-Length: {len(octets)}\r\nContent-Type: {kind}\r\nContent-Transfer-Encoding: binary")


def python():
    """requests: JSON in ASCII; file parts without a type."""
    fields = {"api_user": USER, "api_key": KEY, "to": TO, "from": FROM, "subject": "件名", "charset": "UTF-8", "text": "本文"}
    head = ["Host: localhost", "User-Agent: python-requests/2.34.2", "Accept-Encoding: gzip, deflate", "Accept: */*",
            "Connection: keep-alive"]
    text = {k: v if isinstance(v, str) else json.dumps(v) for k, v in {**fields, "attachments": 2}.items()}
    boundary = "a1f5ce69fdcc17efd52ebeafc053de20"
    yield "json", head + ["Content-Type: application/json"], json.dumps(fields).encode()
    yield "files", head + [f"Content-Type: multipart/form-data; boundary={boundary}"], parts(
        boundary, text, FILES, file_head=lambda kind, octets: "")


def php():
    """Guzzle 7: strings that contain JSON, empty strings, addresses with properties of their own; a length in each part."""
    fields = {"api_user": USER, "api_key": KEY, "subject": "件名", "text": "本文", "html": "", "charset": "UTF-8", "envfrom": "",
              "to": json.dumps([{"address": "to@example.net", "name": "山田", "company": "x"}]),
              "from": dumps({"address": SENDER, "name": "送信"}), "replyto": dumps({"address": "r@example.com", "name": ""}),
              "cc": json.dumps([{"address": "cc@example.net"}]), "bcc": json.dumps([{"address": "bcc@example.net"}]),
              "headers": json.dumps([{"name": "X-Api-Data", "value": "p1"}])}
    head = ["Host: localhost", "User-Agent: GuzzleHttp/7"]
    text = {**{k: v for k, v in fields.items() if v}, "attachments": "2"}
    boundary = "54ed37b86a56d8d5f86e6fd44916834e2bbce292"
    yield "json", head + ["Content-Type: application/json"], json.dumps(fields).encode()
    yield "files", head + [f"Content-Type: multipart/form-data; boundary={boundary}"], parts(
        boundary, text, FILES, text_head=lambda value: f"\r\nContent-Length: {len(value.encode())}",
        file_head=lambda kind, octets: f"\r\nContent-Length: {len(octets)}\r\nContent-Type: {kind}")


def java():
    """HttpClient 4.5: other names for two fields; text parts labelled with a charset that they are not in."""
    fields = {"api_user": USER, "api_key": KEY, "subject": "件名", "text": "本文", "envfrom": "e@example.com", "replyto":
              {"name": "", "address": "r@example.com"}, "charset": "UTF-8", "from": FROM, "to": TO}
    head = ["Host: localhost", "Connection: Keep-Alive", "User-Agent: Apache-HttpClient/4.5.14 (Java/17.0.17)",
            "Accept-Encoding: gzip,deflate"]
    text = {k: v if isinstance(v, str) else dumps(v) for k, v in fields.items()}
    text.update(env_from=text.pop("envfrom"), reply_to=text.pop("replyto"), attachments="2")
    boundary = "Jx4sxs6Nnt0uWv5tYJ-yYzUvCFVOFpMaS3v"
    yield "json", ["Content-type: application/json; charset=UTF-8"] + head, dumps(fields).encode()
    yield "files", [f"Content-Type: multipart/form-data; boundary={boundary}"] + head, parts(
        boundary, text, FILES, text_head=lambda value: "\r\nContent-Type: text/plain; charset=ISO-8859-1\r\nContent-Transfer-Encoding: 8bit",
        file_head=lambda kind, octets: "\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary")


def laravel():
    """A transport of a third party: html alone, a list of headers."""
    fields = {"api_user": USER, "api_key": KEY, "to": TO, "from": FROM, "subject": "件名", "html": "<p>本文</p>", "headers": []}
    yield "html", ["Host: localhost", "Accept-Language: en", "User-Agent: GuzzleHttp/7", "Content-Type: application/json"], json.dumps(fields).encode()


def vba():
    """WinHTTP: JSON, headers a list."""
    fields = {"api_user": USER, "api_key": KEY, "to": TO, "from": FROM, "subject": "件名", "text": "本文",
              "headers": [{"name": "X-Api-Data", "value": "v1"}]}
    yield "json", ["Connection: Keep-Alive", "Content-Type: application/json; charset=utf-8", "Accept: */*",
                   "User-Agent: Mozilla/4.0 (compatible; Win32; WinHttp.WinHttpRequest.5)", "Host: localhost"], dumps(fields).encode()


LIBRARIES = [node, ruby, python, php, java, laravel, vba]


def gmime(octets):
    """What GMime reads: subject, {leaf's file name or type: octets}."""
    stream = GMime.StreamMem.new_with_buffer(octets)
    message = GMime.Parser.new_with_stream(stream).construct_message(None)
    found = {}

    def look(parent, part):
        if isinstance(part, GMime.Part) and part.get_content_type().get_mime_type() != "application/pkcs7-signature":
            out = GMime.StreamMem.new()
            part.get_content().write_to_stream(out)
            found[part.get_filename() or part.get_content_type().get_mime_type()] = bytes(out.get_byte_array() or b"")

    message.foreach(look)
    return message.get_subject(), found


@test
def what_each_library_sends_is_taken_signed_and_read_by_gmime():
    mails = []
    for library in LIBRARIES:
        for name, head, body in library():
            case = f"{library.__name__} {name}"
            recipients, octets = mail_of(answer(exchange(head, body)))
            mails.append(octets)
            contains(recipients, "to@example.net")
            subject, leaves = gmime(octets)
            message = email.message_from_bytes(octets, policy=email.policy.default)
            equal((message["Subject"], subject), ("件名", "件名"), case)
            equal(message["To"].addresses[0].display_name, "山田", case)
            equal(message["From"].addresses[0].display_name, "送信", case)
            if "text/plain" in leaves:
                equal(leaves["text/plain"].decode().strip(), "本文", case)
            if name == "files":
                equal((leaves[FILE], leaves["a.png"]), (b"hello\n", PNG), case)
            else:
                equal(sorted(leaves), ["text/html"] if name == "html" else ["text/plain"], case)
            if library is php:
                equal(sorted(recipients), ["bcc@example.net", "cc@example.net", "to@example.net"], case)
                equal((message["X-Api-Data"], message["Reply-To"], b"bcc@" in octets), ("p1", "r@example.com", False), case)
            if library is java:
                equal(message["Reply-To"], "r@example.com", case)
    verify(mails, CA)


@test
def what_each_library_sends_with_a_fault_is_an_error_that_it_can_read():
    for library in LIBRARIES:
        name, head, body = list(library())[0]
        head, out = exchange(head, json.dumps({**json.loads(body), "subject": ""}).encode()).split(b"\r\n\r\n", 1)
        errors = json.loads(out)["errors"]
        contains(head, b"HTTP/1.1 400 ")
        equal([(e["code"], e["field"]) for e in errors], [("10-001", "subject")], library.__name__)
        equal({type(v) for e in errors for v in e.values()}, {str})


FIELDS = {"api_user": USER, "api_key": KEY, "to": "to@example.net", "from": json.dumps(FROM), "subject": "Hello", "text": "Hello"}


@test
def curl_in_each_of_its_ways():
    with tempfile.TemporaryDirectory() as directory:
        body = pathlib.Path(directory) / "body.json"
        body.write_text(json.dumps(FIELDS))
        big = pathlib.Path(directory) / "big.bin"
        big.write_bytes(os.urandom(2 << 20))
        as_json = ["-H", "Content-Type: application/json", "--data-binary", f"@{body}"]
        form = sum((["--data-urlencode", f"{k}={v}"] for k, v in FIELDS.items()), [])
        multi = sum((["--form-string", f"{k}={v}"] for k, v in FIELDS.items()), ["-F", f"attachment1=@{big}"])
        for options in (as_json, [*as_json, "--http1.0"], [*as_json, "-H", "Transfer-Encoding: chunked"], form,
                        [*as_json, "-H", "Expect: 100-continue"], multi, [*multi, "-H", "Transfer-Encoding: chunked"]):
            out = subprocess.run(["curl", "-sSv", "--cacert", CA, "-w", "\n%{http_code}", *options, URL], capture_output=True, text=True)
            lines = out.stdout.strip().split("\n")
            equal((out.returncode, lines[-1]), (0, "200"), options)
            mail_of(json.loads(lines[0])["id"])
            if "Expect: 100-continue" in options:
                contains(out.stderr, "HTTP/1.1 100 Continue")
        out = subprocess.run(["curl", "-sSv", "--cacert", CA, *as_json, URL, URL], capture_output=True, text=True)
        equal((out.returncode, out.stdout.count('"id"')), (0, 2))
        contains(out.stderr, "Re-using existing connection")


@test
def pythons_own_clients():
    body = json.dumps(FIELDS).encode()
    with urllib.request.urlopen(urllib.request.Request(URL, body, {"Content-Type": "application/json"}), context=BOX.tls()) as reply:
        mail_of(json.loads(reply.read())["id"])
    client = BOX.api()
    for chunked in False, True, False:
        client.request("POST", PATH, iter([body[:9], body[9:]]) if chunked else body, {"Content-Type": "application/json"}, encode_chunked=chunked)
        mail_of(json.loads(client.getresponse().read())["id"])
    client.close()
    with requests.Session() as session:
        session.verify, session.trust_env = CA, False
        for reply in (session.post(URL, json=FIELDS), session.post(URL, data=FIELDS), session.post(URL, data=FIELDS, files={"attachment1": ("a", b"x")}),
                      session.post(URL, data=iter([body]), headers={"Content-Type": "application/json"})):
            equal(reply.status_code, 200, reply.text)
            mail_of(reply.json()["id"])


NODE = """
const https = require('https'), fields = JSON.parse(process.env.FIELDS), url = process.env.URL;
const agent = new https.Agent({keepAlive: true, maxSockets: 1});
const post = (type, headers, pieces) => new Promise((done, fail) => {
  const request = https.request(url, {method: 'POST', agent, headers: {'Content-Type': type, ...headers}}, reply => {
    const port = reply.socket.localPort;
    let text = ''; reply.on('data', d => text += d); reply.on('end', () => done([reply.statusCode, text, port]));
  });
  request.on('error', fail);
  const write = () => { pieces.forEach(p => request.write(p)); request.end(); };
  if (headers.Expect) { request.on('continue', write); request.flushHeaders(); } else write();
});
(async () => {
  const body = JSON.stringify(fields), form = new URLSearchParams(fields).toString(), out = [];
  out.push(await post('application/json', {'Content-Length': Buffer.byteLength(body)}, [body]));
  out.push(await post('application/x-www-form-urlencoded', {'Content-Length': form.length, Expect: '100-continue'}, [form]));
  out.push(await post('application/json', {}, [body.slice(0, 9), body.slice(9)]));  // in chunks, after which Inkan closes
  const data = new FormData();
  for (const [name, value] of Object.entries(fields)) data.append(name, value);
  data.append('attachment1', new Blob(['x']), 'a.txt');
  for (const init of [{body: data}, {body: new URLSearchParams(fields)}, {body, headers: {'Content-Type': 'application/json'}}]) {
    const reply = await fetch(url, {method: 'POST', ...init});
    out.push([reply.status, await reply.text(), null]);
  }
  console.log(JSON.stringify(out));
  agent.destroy();
})();
"""


@test
def nodes_own_clients():
    done = subprocess.run(["node", "--no-warnings", "-e", NODE], capture_output=True, text=True, timeout=60,
                          env={**os.environ, "FIELDS": json.dumps(FIELDS), "URL": URL, "NODE_EXTRA_CA_CERTS": CA})
    equal(done.returncode, 0, done.stderr)
    replies = json.loads(done.stdout)
    equal([status for status, _, _ in replies], [200] * 6, replies)
    equal(len({port for _, _, port in replies[:3]}), 1, "one kept connection")
    for _, text, _ in replies:
        mail_of(json.loads(text)["id"])


run()

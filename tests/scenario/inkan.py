"""What every scenario uses: a sandbox, an SMTP client that shows replies, a sink that plays the next hop, the verifiers.

A scenario is a program of functions marked @test; run() calls them in order and ends with "N passed, N failed".
"""
import atexit
import contextlib
import datetime
import email.utils
import http.client
import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import traceback

sys.dont_write_bytecode = True
ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SANDBOX = ROOT / "tests" / "sandbox"
TESTS = []
SANDBOXES = []
FINDINGS = []  # of sanitizers, in the logs of sandboxes
SANITIZER = re.compile(r"ERROR: AddressSanitizer|WARNING: ThreadSanitizer|\.[ch]:\d+:\d+: runtime error:")
FINDING_LINES = 30
SANITIZED = "ASAN_OPTIONS" in os.environ  # which keeps what is freed: memory says nothing then


def shared():
    named = os.environ.get("INKAN_SHARED")
    found = pathlib.Path(named) if named else ROOT.parent / "shared"
    if not (found / "verify" / "verify").exists():
        raise SystemExit(f"{found} does not hold the verifiers: set INKAN_SHARED")
    return found


def test(function):
    TESTS.append(function)
    return function


def run():
    """Runs the tests named on the command line, or all."""
    wanted = set(sys.argv[1:])
    passed = failed = 0
    for function in TESTS:
        if wanted and function.__name__ not in wanted:
            continue
        try:
            function()
            passed += 1
            print(f"ok {function.__name__}", flush=True)
        except Exception:  # a failed test must not hide the others
            failed += 1
            print(f"FAIL {function.__name__}", flush=True)
            traceback.print_exc()
    for sandbox in SANDBOXES:
        sandbox.down()
    for finding in FINDINGS:
        failed += 1
        print(f"FAIL a sanitizer found:\n{finding}", flush=True)
    print(f"{passed} passed, {failed} failed", flush=True)
    sys.exit(1 if failed or not passed else 0)


def equal(got, want, what=""):
    if got != want:
        raise AssertionError(f"{what}: {got!r} is not {want!r}")


def contains(text, part):
    if part not in text:
        raise AssertionError(f"{part!r} is not in {text!r}")


def wait_until(condition, seconds, what):
    """The first true value of condition(), or an AssertionError after so many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.05)


class Sandbox:
    """A complete appliance in a temporary directory (tests/sandbox, design §8)."""

    def __init__(self, *options):
        self.directory = tempfile.mkdtemp(prefix="inkan-box-")
        os.chmod(self.directory, 0o755)
        self.box = os.path.join(self.directory, "box")
        done = subprocess.run([SANDBOX, "up", self.box, *options], capture_output=True, text=True, timeout=120)
        if done.returncode != 0:
            shutil.rmtree(self.directory)
            raise AssertionError(f"sandbox up failed: {done.stdout}{done.stderr}")
        self.env = self.read_env()
        SANDBOXES.append(self)
        atexit.register(self.down)

    def read_env(self):
        shown = subprocess.run(["bash", "-c", f"set -a; . {shlex.quote(self.box)}/env; env -0"], capture_output=True,
                               check=True, env={"PATH": os.environ["PATH"]})
        return dict(line.split("=", 1) for line in shown.stdout.decode().split("\0") if "=" in line)

    def down(self):
        if not self.directory:
            return
        subprocess.run([SANDBOX, "down", self.box], capture_output=True, timeout=60)
        self.look_for_findings()
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory = None

    def look_for_findings(self):
        """A child that a sanitizer ends is started again, and the test may pass: what it said is in inkand's log."""
        with contextlib.suppress(OSError):
            lines = pathlib.Path(self.box, "inkand.log").read_text(errors="replace").splitlines()
            for number, line in enumerate(lines):
                if SANITIZER.search(line):
                    FINDINGS.append("\n".join(lines[number:number + FINDING_LINES]))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.down()

    @property
    def port(self):
        return int(self.env["SMTP_PORT"])

    def api(self, timeout=40):
        """An HTTP client of the API: HTTPS, unless the sandbox is without TLS."""
        port = int(self.env["API_PORT"])
        if self.env["API_URL"].startswith("http:"):
            return http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
        return http.client.HTTPSConnection("127.0.0.1", port, timeout=timeout, context=self.tls())

    def api_socket(self, timeout=40):
        """The same as a socket, for octets that no HTTP client sends."""
        bare = socket.create_connection(("127.0.0.1", int(self.env["API_PORT"])), timeout=timeout)
        bare.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return bare if self.env["API_URL"].startswith("http:") else self.tls().wrap_socket(bare, server_hostname="127.0.0.1")

    def tls(self):
        """Trusts the sandbox's CA alone."""
        return ssl.create_default_context(cafile=self.env["CA_FILE"])

    def console(self, *commands, stdin="", ok=True):
        """Runs commands at the console; -> its standard output and messages. ok None: either way."""
        command = self.env["INKAN"] + "".join(" -c " + shlex.quote(c) for c in commands)
        done = subprocess.run(["bash", "-c", command], input=stdin, capture_output=True, text=True, timeout=120)
        if ok and done.returncode != 0:
            raise AssertionError(f"{commands}: exit {done.returncode}: {done.stdout}{done.stderr}")
        if ok is False and done.returncode == 0:
            raise AssertionError(f"{commands}: was expected to fail: {done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def configure(self, *lines, ok=True):
        """A configuration session that ends with commit."""
        script = "\n".join(["configure", *lines, "commit", "exit", ""])
        done = subprocess.run(["bash", "-c", self.env["INKAN"]], input=script, capture_output=True, text=True, timeout=60)
        if ok != (done.returncode == 0):
            raise AssertionError(f"{lines}: exit {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def maildir(self, wanted=0, seconds=20):
        """The messages in the maildir as delivered (LF), oldest first; waits until there are `wanted`."""
        new = pathlib.Path(self.box, "maildir", "new")

        def listed():
            return sorted(new.iterdir(), key=lambda p: (p.stat().st_mtime_ns, p.name)) if new.exists() else []

        wait_until(lambda: len(listed()) >= wanted, seconds, f"{wanted} messages in the maildir")
        return [path.read_bytes() for path in listed()]

    def empty_maildir(self):
        for path in pathlib.Path(self.box, "maildir", "new").glob("*"):
            path.unlink()

    def processes(self, name):
        """pids of the children of inkand whose command line begins with this program."""
        children = subprocess.run(["pgrep", "-P", self.env["SUPERVISOR_PID"]], capture_output=True, text=True).stdout.split()
        found = []
        for pid in children:
            with contextlib.suppress(OSError):
                words = pathlib.Path("/proc", pid, "cmdline").read_bytes().split(b"\0")
                if os.path.basename(words[0].decode()) == name:
                    found.append(int(pid))
        return found

    def kill(self, name):
        """SIGKILL to the children of this name; -> their pids."""
        pids = self.processes(name)
        if not pids:
            raise AssertionError(f"no {name} runs")
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        return pids


class Smtp:
    """A bare SMTP client: every reply is kept as (code, text)."""

    def __init__(self, port, host="127.0.0.1", hello="EHLO client.example", timeout=40):
        self.socket = socket.create_connection((host, port), timeout=timeout)
        self.file = self.socket.makefile("rb")
        self.greeting = self.reply()
        self.hello = self.command(hello) if hello else None

    def reply(self):
        lines = []
        while True:
            line = self.file.readline()
            if not line:
                raise ConnectionError("closed by the server")
            lines.append(line.decode("utf-8", "replace").rstrip("\r\n"))
            if line[3:4] != b"-":
                return int(line[:3]), "\n".join(lines)

    def send(self, octets):
        self.socket.sendall(octets)

    def command(self, text):
        self.send(text.encode() + b"\r\n")
        return self.reply()

    def mail(self, sender, recipients, message):
        """One transaction; -> the final reply, or the first refusal."""
        for text in [f"MAIL FROM:<{sender}>", *(f"RCPT TO:<{r}>" for r in recipients), "DATA"]:
            code, reply = self.command(text)
            if code >= 400:
                return code, reply
        self.send(stuffed(message))
        return self.reply()

    def close(self):
        with contextlib.suppress(OSError):
            self.socket.close()
        self.file.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def crlf(message):
    message = re.sub(rb"\r\n|\n|\r", b"\r\n", message)
    return message if message.endswith(b"\r\n") else message + b"\r\n"


def stuffed(message):
    return re.sub(rb"(?m)^\.", b"..", message) + b".\r\n"


def send(port, sender, recipients, message):
    with Smtp(port) as client:
        return client.mail(sender, recipients, message)


class Sink:
    """A next hop: keeps what it is given as (sender, recipients, octets).

    `answer` may refuse commands that begin so: {b"RCPT TO:<gone@": "550 5.1.1 No such user"}.
    """

    def __init__(self, port=0):
        self.messages, self.answer, self.lock = [], {}, threading.Lock()
        self.listener = None
        self.port = port
        self.open()

    def open(self):
        self.listener = socket.create_server(("127.0.0.1", self.port), backlog=200)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, args=(self.listener,), daemon=True).start()

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def accept(self, listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with contextlib.suppress(OSError, ValueError), connection, connection.makefile("rwb") as file:
            self.session(file)

    def session(self, file):
        def reply(text):
            file.write(text.encode() + b"\r\n")
            file.flush()

        sender, recipients = None, []
        reply("220 sink.example ESMTP")
        while line := file.readline():
            verb = line[:4].upper().strip().decode()
            refusal = next((reply_text for start, reply_text in list(self.answer.items()) if line.startswith(start)), None)
            if refusal:
                reply(refusal)
            elif verb == "EHLO":
                reply("250-sink.example\r\n250-PIPELINING\r\n250-SIZE\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES")
            elif verb == "MAIL":
                sender, recipients = path_of(line), []
                reply("250 2.1.0 Ok")
            elif verb == "RCPT":
                recipients.append(path_of(line))
                reply("250 2.1.5 Ok")
            elif verb == "DATA":
                reply("354 Go on")
                message = self.data(file)
                with self.lock:
                    self.messages.append((sender, recipients, message))
                reply("250 2.0.0 Kept")
            elif verb == "QUIT":
                reply("221 2.0.0 Bye")
                return
            else:
                reply("250 2.0.0 Ok")

    @staticmethod
    def data(file):
        lines = []
        while (line := file.readline()) != b".\r\n":
            if not line:
                raise ValueError("cut short")
            lines.append(line[1:] if line.startswith(b".") else line)
        return b"".join(lines)

    def wait(self, count, seconds=20):
        wait_until(lambda: len(self.messages) >= count, seconds, f"{count} messages at the sink")
        with self.lock:
            return list(self.messages)


def path_of(line):
    return re.search(rb"<([^>]*)>", line).group(1).decode("utf-8", "replace")


def now():
    """The Date field's value for a message of this moment."""
    return email.utils.format_datetime(datetime.datetime.now(datetime.timezone.utc))


def verdicts(messages, ca, *options):
    """Asks the five independent verifiers about messages (octets with CRLF): a list of the verifier's reports."""
    with tempfile.TemporaryDirectory(prefix="inkan-verify-") as directory:
        files = []
        for number, message in enumerate(messages):
            files.append(os.path.join(directory, f"{number}.eml"))
            pathlib.Path(files[-1]).write_bytes(message)
        done = subprocess.run([shared() / "verify" / "verify", "--json", "--ca", ca, *options, *files],
                              capture_output=True, text=True, timeout=600)
        if done.returncode not in (0, 1):
            raise AssertionError(done.stdout + done.stderr)
        return json.loads(done.stdout)["files"]


def verify(messages, ca, *options):
    """Raises with what was said when one of the five verifiers does not take a message."""
    for report in verdicts(messages, ca, *options):
        if not report["valid"]:
            raise AssertionError(json.dumps(report, indent=1))


def compare(original, signed, *options):
    """-> the differences in content that ../shared/verify/compare finds, "" when there is none."""
    with tempfile.TemporaryDirectory(prefix="inkan-compare-") as directory:
        a, b = os.path.join(directory, "a.eml"), os.path.join(directory, "b.eml")
        pathlib.Path(a).write_bytes(original)
        pathlib.Path(b).write_bytes(signed)
        done = subprocess.run([shared() / "verify" / "compare", *options, a, b], capture_output=True, text=True, timeout=60)
        return "" if done.returncode == 0 else done.stdout + done.stderr


def is_signed(message):
    return re.search(rb"(?im)^content-type: multipart/signed; protocol=\"application/pkcs7-signature\"", message) is not None


def short_lived(address, seconds, directory):
    """A PKCS#12 (password: secret) whose certificate ends in so many seconds; openssl ca alone takes an end time."""
    key, csr, out, p12 = (os.path.join(directory, n) for n in ("key", "csr", "crt", "p12"))
    end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
    config = pathlib.Path(directory, "ca.cnf")
    config.write_text(f"""[ca]
default_ca=c
[c]
database={directory}/index
serial={directory}/serial
new_certs_dir={directory}
default_md=sha256
policy=p
x509_extensions=x
[p]
commonName=supplied
[x]
basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=emailProtection
subjectAltName=email:{address}
""")
    pathlib.Path(directory, "index").write_text("")
    pathlib.Path(directory, "serial").write_text("1000\n")

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True)

    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{directory}/ca.key", "-out", f"{directory}/ca.crt",
            "-subj", "/CN=Short CA", "-days", "2", "-addext", "keyUsage=critical,keyCertSign")
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", csr, "-subj", "/CN=Short")
    openssl("ca", "-batch", "-config", str(config), "-cert", f"{directory}/ca.crt", "-keyfile", f"{directory}/ca.key", "-in", csr,
            "-out", out, "-startdate", "20200101000000Z", "-enddate", end.strftime("%Y%m%d%H%M%SZ"), "-notext")
    openssl("pkcs12", "-export", "-inkey", key, "-in", out, "-certfile", f"{directory}/ca.crt", "-out", p12, "-passout", "pass:secret")
    os.chmod(directory, 0o755)
    os.chmod(p12, 0o644)
    return p12

"""Exim and OpenSMTPD, each a private instance in a root directory of its own on loopback.

Only one mail server can be installed on a Debian system, and the tests have Postfix there: these are unpacked from their packages
into the build directory. Their paths and users are compiled in, so each runs chrooted into a tree with its libraries.
"""
import contextlib
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile

from inkan import ROOT, Smtp, wait_until


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def unpacked(package):
    """The directory of the unpacked package; fetches it unless it is there."""
    programs = os.environ.get("INKAN_BIN")
    build = pathlib.Path(programs).parent if programs else ROOT / os.environ.get("BUILD", "build")
    done = subprocess.run([ROOT / "image" / "unpack-packages", "mta", build / "mta"], capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        raise AssertionError(done.stderr)
    return build / "mta" / package


class Mta:
    """A mail server that relays everything to 127.0.0.1:`next_port`.

    Subclasses: `package`, `program`, `arguments`, `users` (name: id) and configure(). Files for it are put beneath `root`.
    """

    package = program = None
    arguments, users, programs = [], {}, []

    def __init__(self, next_port, **settings):
        if os.geteuid() != 0:
            raise AssertionError(f"{self.package} needs root: it is chrooted and changes to its own users")
        source = unpacked(self.package)
        self.next_port, self.settings, self.port = next_port, settings, free_port()
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="inkan-mta-"))
        os.chmod(self.root, 0o755)
        self.make_tree(source)
        self.configure()
        with open(self.root / "output", "wb") as output:
            self.process = subprocess.Popen(["chroot", self.root, self.program, *self.arguments], stdin=subprocess.DEVNULL,
                                            stdout=output, stderr=output, start_new_session=True, cwd="/")
        try:
            wait_until(self.greets, 30, f"{self.package} greets")
        except AssertionError as error:
            text = self.log()
            self.stop()
            raise AssertionError(f"{error}: {text}") from error

    def make_tree(self, source):
        for name in ("etc", "dev", "tmp", "run", "var/spool", "var/lib", "var/log", "usr/sbin"):
            (self.root / name).mkdir(parents=True)
        os.symlink("../run", self.root / "var" / "run")
        os.chmod(self.root / "tmp", 0o1777)
        for name in ("null", "urandom"):
            device = os.stat(f"/dev/{name}")
            os.mknod(self.root / "dev" / name, device.st_mode, device.st_rdev)
            os.chmod(self.root / "dev" / name, 0o666)
        for program in self.programs:
            self.copy_program(source, program)
        lines = [("root", 0), ("nobody", 65534), *self.users.items()]
        self.write("etc/passwd", "".join(f"{name}:x:{number}:{number}::/:/usr/sbin/nologin\n" for name, number in lines))
        self.write("etc/group", "".join(f"{name}:x:{number}:\n" for name, number in lines))
        self.write("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n")
        self.write("etc/hosts", "127.0.0.1 localhost mx.example.net\n")
        self.write("etc/services", "smtp 25/tcp\n")
        self.write("etc/aliases", "")

    def copy_program(self, source, program):
        target = self.root / program
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / program, target)
        os.chmod(target, 0o755)
        listed = subprocess.run(["ldd", source / program], capture_output=True, text=True, check=True).stdout
        if "not found" in listed:
            raise AssertionError(f"{program} lacks libraries: image/install-packages test\n{listed}")
        for library in re.findall(r"(/\S+) \(0x", listed):
            copy = self.root / library.lstrip("/")
            copy.parent.mkdir(parents=True, exist_ok=True)
            if not copy.exists():
                shutil.copy(library, copy)

    def write(self, name, text, owner=None, mode=0o644):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        os.chmod(path, mode)
        if owner is not None:
            os.chown(path, owner, owner)

    def greets(self):
        if self.process.poll() is not None:
            raise AssertionError(f"{self.package} ended")
        with contextlib.suppress(OSError), Smtp(self.port, timeout=10):
            return True

    def log(self):
        """All that it has logged."""
        paths = [self.root / "output", *(self.root / "var" / "log").rglob("*")]
        return "".join(path.read_text(encoding="utf-8", errors="replace") for path in paths if path.is_file())

    def stop(self):
        """Ends its session: whatever it has started."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(5)
        shutil.rmtree(self.root, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


EXIM_CONF = """\
primary_hostname = exim.example
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
spool_directory = /var/spool/exim4
log_file_path = /var/log/exim4/%s
log_selector = +pipelining
acl_smtp_rcpt = acl_all
acl_smtp_data = acl_all
acl_smtp_mail = {acl_mail}
host_lookup =
keep_environment =
rfc1413_query_timeout = 0s
smtputf8_advertise_hosts = *
strict_acl_vars = false
{main}
begin acl
acl_all:
  accept
acl_login:
  accept authenticated = *
  deny message = 5.7.0 Log in first

begin routers
next:
  driver = manualroute
  transport = next
  route_list = * 127.0.0.1 byname
  self = send

begin transports
next:
  driver = smtp
  port = {next_port}
  message_linelength_limit = 100000
  {transport}

begin retry
* * F,1h,1s

begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_advertise_condition = ${{if def:tls_in_cipher}}
  server_condition = ${{if and{{{{eq{{$auth2}}{{relay}}}}{{eq{{$auth3}}{{{password}}}}}}}}}
  server_set_id = $auth2
"""


class Exim(Mta):
    """settings: `main` and `transport` lines; `password` of the user relay, which must then log in."""

    package, program, programs = "exim4-daemon-light", "/usr/sbin/exim4", ["usr/sbin/exim4"]
    users = {"Debian-exim": 64911}
    arguments = ["-bdf", "-q1s"]

    def configure(self):
        owner = self.users["Debian-exim"]
        for name in ("var/spool/exim4", "var/log/exim4", "run/exim4"):
            (self.root / name).mkdir(parents=True)
            os.chown(self.root / name, owner, owner)
        password = self.settings.get("password")
        self.write("etc/exim4/exim4.conf", EXIM_CONF.format(
            port=self.port, next_port=self.next_port, main=self.settings.get("main", ""), transport=self.settings.get("transport", ""),
            password=password or "none", acl_mail="acl_login" if password else "acl_all"))


class OpenSmtpd(Mta):
    package, program = "opensmtpd", "/usr/sbin/smtpd"
    programs = ["usr/sbin/smtpd", "usr/sbin/smtpctl"]
    users = {"opensmtpd": 64901, "opensmtpq": 64902}
    arguments = ["-d", "-f", "/etc/smtpd.conf"]

    def configure(self):
        (self.root / "var" / "lib" / "opensmtpd" / "empty").mkdir(parents=True)
        (self.root / "var" / "spool" / "smtpd").mkdir(mode=0o711)
        self.write("etc/smtpd.conf", f"""\
listen on 127.0.0.1 port {self.port} hostname opensmtpd.example
action "next" relay host "smtp://127.0.0.1:{self.next_port}"
match from any for any action "next"
""")

"""A token with switches: tests/token/faulty_module.c before a SoftHSM token of its own, in a directory for `--module`."""
import contextlib
import fcntl
import os
import pathlib
import pwd
import secrets
import shutil
import struct
import subprocess
import tempfile

from inkan import ROOT, Sandbox

SOFTHSM = ["/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so"]
LABEL = "inkan"
HSM_USER = 61302  # as tests/sandbox takes it where the system has no user inkan-hsm
ROW = struct.Struct("24sQ")  # struct call_count of faulty_switches.h


def built_module():
    programs = os.environ.get("INKAN_BIN")
    build = pathlib.Path(programs).parent if programs else ROOT / os.environ.get("BUILD", "build")
    return build / "tests" / "token" / "faulty_module.so"


class FaultyToken:
    """Faults are files: on("slow", "100"), off("slow"). See the head of faulty_module.c for their names."""

    def __init__(self, pin=None):
        self.pin = pin or secrets.token_hex(8)
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="inkan-faulty-"))
        (self.directory / "tokens").mkdir()
        self.module = shutil.copy(built_module(), self.directory)
        self.on("real", self.real_module())
        self.on("softhsm2.conf", f"directories.tokendir = {self.directory}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n")
        subprocess.run(["softhsm2-util", "--init-token", "--free", "--label", LABEL, "--so-pin", "12345678", "--pin", self.pin],
                       check=True, capture_output=True, env={"PATH": os.environ["PATH"], "SOFTHSM2_CONF": str(self.directory / "softhsm2.conf")})
        self.user = self.give_away()

    @staticmethod
    def real_module():
        return next(path for path in SOFTHSM if os.path.exists(path))

    def give_away(self):
        """The HSM program's own user gets all of it, where it has one."""
        if os.geteuid() != 0:
            return None
        user = HSM_USER
        with contextlib.suppress(KeyError):
            user = pwd.getpwnam("inkan-hsm").pw_uid
        for path in [self.directory, *self.directory.rglob("*")]:
            os.chown(path, user, user)
        self.directory.chmod(0o755)
        return user

    def sandbox(self, *options):
        return Sandbox("--module", self.module, "--token", LABEL, "--pin", self.pin, *options)

    def on(self, fault, value=""):
        path = self.directory / fault
        new = path.with_name(f".{fault}")
        new.write_text(value)
        if os.geteuid() == 0:
            os.chown(new, self.directory.stat().st_uid, -1)
        new.rename(path)

    def off(self, fault):
        with contextlib.suppress(FileNotFoundError):
            (self.directory / fault).unlink()

    def is_on(self, fault):
        return (self.directory / fault).exists()

    def number(self, fault):
        with contextlib.suppress(FileNotFoundError):
            return int((self.directory / fault).read_text() or 0)
        return 0

    def bump(self, fault):
        """For faults that are a change of a number."""
        self.on(fault, str(self.number(fault) + 1))

    def logins(self):
        """The processes that called C_Login, once for each call."""
        with contextlib.suppress(FileNotFoundError):
            return [int(line) for line in (self.directory / "logins").read_text().split()]
        return []

    def calls(self):
        octets = (self.directory / "calls").read_bytes()
        return {name.rstrip(b"\0").decode(): count for name, count in ROW.iter_unpack(octets)}

    @contextlib.contextmanager
    def nobody_logs_in(self):
        """While this holds no process is within C_Login: one that is killed there would destroy the SoftHSM token."""
        with open(self.directory / "kill.lock", "a+", encoding="ascii") as lock:
            if self.user is not None:
                os.chown(lock.name, self.user, self.user)
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def remove(self):
        shutil.rmtree(self.directory, ignore_errors=True)

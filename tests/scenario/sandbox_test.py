#!/usr/bin/python3
"""tests/sandbox and inkand by themselves: what they refuse, what they leave behind, and who may do what."""
import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

from inkan import SANDBOX, Sandbox, contains, crlf, equal, run, send, test, wait_until

ORDINARY_USER = 61999
MODULE_USER = 61777
PIN = "Qz7pIn0AbCdE"
SHIM = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* SoftHSM with the configuration that lies beside this file. */
unsigned long C_GetFunctionList(void **list)
{
	Dl_info here;
	char conf[4096];
	void *softhsm;
	unsigned long (*get)(void **);

	dladdr((void *)C_GetFunctionList, &here);
	snprintf(conf, sizeof conf, "%.*s/softhsm2.conf", (int)(strrchr(here.dli_fname, '/') - here.dli_fname), here.dli_fname);
	setenv("SOFTHSM2_CONF", conf, 1);
	softhsm = dlopen("/usr/lib/softhsm/libsofthsm2.so", RTLD_NOW);
	get = softhsm == NULL ? NULL : (unsigned long (*)(void **))dlsym(softhsm, "C_GetFunctionList");
	return get == NULL ? 5 : get(list);
}
"""
MAIL = crlf(b"From: sender@example.com\nTo: dave@example.net\nSubject: x\n\nHello\n")


def sandbox(*arguments, **options):
    return subprocess.run([SANDBOX, *arguments], capture_output=True, text=True, timeout=120, **options)


@contextlib.contextmanager
def directory():
    with tempfile.TemporaryDirectory(prefix="inkan-place-") as path:
        os.chmod(path, 0o755)
        yield path


@contextlib.contextmanager
def token_with_module():
    """A token that is there already, behind a module of its own; -> the module's path."""
    with directory() as path:
        shim, conf = pathlib.Path(path, "module.so"), pathlib.Path(path, "softhsm2.conf")
        subprocess.run(["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", shim, "-ldl"], input=SHIM.encode(), check=True)
        conf.write_text(f"directories.tokendir = {path}/tokens\nobjectstore.backend = file\n")
        os.mkdir(os.path.join(path, "tokens"))
        subprocess.run(["softhsm2-util", "--init-token", "--free", "--label", "mine", "--so-pin", "12345678", "--pin", PIN],
                       check=True, capture_output=True, env={**os.environ, "SOFTHSM2_CONF": str(conf)})
        if os.geteuid() == 0:
            for found in [path, *pathlib.Path(path).rglob("*")]:
                os.chown(found, MODULE_USER, MODULE_USER)
        yield str(shim)


def owner(pid):
    return os.stat(f"/proc/{pid}").st_uid


@test
def a_token_that_is_there_is_used_as_it_is():
    with token_with_module() as module, Sandbox("--module", module, "--token", "mine", "--pin", PIN, "--processes", "1") as box:
        equal(send(box.port, "sender@example.com", ["dave@example.net"], MAIL)[0], 250)
        contains(box.maildir(1)[0].decode(), "multipart/signed")
        workers = box.processes("inkan-hsm")
        equal(len(workers), 1, "workers")
        if os.geteuid() == 0:
            equal(owner(workers[0]), MODULE_USER, "user of the worker")
            contains([61301, *named_users()], owner(box.processes("inkan-relay")[0]))


@test
def a_pin_file_unlocks_signing_and_a_wrong_one_is_tried_once():
    with token_with_module() as module, directory() as path, \
            Sandbox("--module", module, "--token", "mine", "--pin", PIN) as box:
        right, wrong = pathlib.Path(path, "right"), pathlib.Path(path, "wrong")
        right.write_text(PIN + "\n")
        wrong.write_text("0000\n")

        def reply():
            return send(box.port, "sender@example.com", ["dave@example.net"], MAIL)[1]

        box.console("hsm logout")
        equal(reply(), "451 4.3.0 Signing is locked")
        box.configure(f"set hsm pin-source file:{wrong}")
        wait_until(lambda: "rejected" in box.console("show hsm"), 10, "the wrong PIN is rejected")
        time.sleep(3)
        log = pathlib.Path(box.box, "inkand.log").read_text()
        equal(log.count("login.rejected"), 1, "logins that the token rejected")
        equal(reply(), "451 4.3.0 Signing is locked")
        box.configure(f"set hsm pin-source file:{right}")
        wait_until(lambda: reply().startswith("250 "), 10, "signing with the PIN of the file")


def named_users():
    shown = subprocess.run(["id", "-u", "inkan-relay"], capture_output=True, text=True)
    return [int(shown.stdout)] if shown.returncode == 0 else []


@test
def a_wrong_pin_ends_quickly_and_leaves_nothing():
    with token_with_module() as module, directory() as place:
        started = time.monotonic()
        done = sandbox("up", f"{place}/box", "--module", module, "--token", "mine", "--pin", "wrong1234")
        equal(done.returncode, 1, "exit status")
        contains(done.stderr, "CKR_PIN_INCORRECT")
        contains(done.stderr, "the end of inkand.log")
        equal(done.stderr.count("login.rejected"), 1, "tries")
        equal(os.listdir(place), [], "what is left")
        if time.monotonic() - started > 15:
            raise AssertionError("slow to fail")


@test
def arguments_are_checked():
    with directory() as place:
        for words, part in [(["--sender", "nobody"], "no mail address"), (["--sender", "a@b.c:dsa"], "rsa2048"), (["--pin", "1"], "--module"),
                            (["--module", "/nowhere.so", "--pin", "1"], "no such file"), (["--processes", "0"], "from 1 to 32"),
                            (["--module", __file__], "needs --pin"), (["--sender", "a@b.c", "--sender", "a@b.c"], "twice")]:
            done = sandbox("up", f"{place}/box", *words)
            equal(done.returncode, 2, " ".join(words))
            contains(done.stderr, part)
        pathlib.Path(place, "full").mkdir()
        pathlib.Path(place, "full", "mine").write_text("kept")
        contains(sandbox("up", f"{place}/full").stderr, "not an empty directory")
        contains(sandbox("down", f"{place}/full").stderr, "is no sandbox")
        equal(pathlib.Path(place, "full", "mine").read_text(), "kept")


@test
def a_sender_may_have_a_plus_in_the_address():
    with Sandbox("--sender", "anna+news@example.com:p256") as box:
        contains(box.console("show certificates"), "anna+news@example.com")


@test
def down_leaves_nothing_behind():
    with directory() as place:
        os.mkdir(f"{place}/empty")
        for name, left in [("new", ["empty"]), ("empty", ["empty"])]:
            equal(sandbox("up", f"{place}/{name}").returncode, 0, f"up {name}")
            pid = int(pathlib.Path(place, name, "inkand.pid").read_text())
            children = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout.split()
            equal(len(children), 3, "children")
            equal(sandbox("down", f"{place}/{name}").returncode, 0, f"down {name}")
            equal(os.listdir(place), left, "what is left")
            equal([p for p in children if alive(p)], [], "processes that are left")
        equal(os.listdir(f"{place}/empty"), [], "what is left in the directory that was there before")


@test
def a_private_temporary_directory_around_it_will_do():
    with tempfile.TemporaryDirectory() as path:
        first, second = os.path.join(path, "a"), os.path.join(path, "b")
        for box in (first, second):
            done = sandbox("up", box)
            equal(done.returncode, 0, done.stderr)
        for box in (first, second):
            equal(sandbox("down", box).returncode, 0)
        equal(os.listdir(path), [])
        equal(os.stat(path).st_mode & 0o777, 0o700, "mode of the directory around it")


def alive(pid):
    """Not counting a zombie, which only its new parent can remove."""
    with contextlib.suppress(OSError):
        return pathlib.Path("/proc", str(pid), "cmdline").read_bytes() != b""
    return False


@test
def an_ordinary_user_has_one_too():
    if os.geteuid() != 0:
        with Sandbox() as box:
            equal(owner(box.processes("inkan-hsm")[0]), os.geteuid())
        return
    with directory() as place:
        os.chown(place, ORDINARY_USER, ORDINARY_USER)
        who = {"user": ORDINARY_USER, "group": ORDINARY_USER, "extra_groups": [], "env": {**os.environ, "HOME": place}}
        done = sandbox("up", f"{place}/box", **who)
        equal(done.returncode, 0, done.stderr)
        pid = int(pathlib.Path(place, "box", "inkand.pid").read_text())
        children = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout.split()
        equal({owner(p) for p in children}, {ORDINARY_USER}, "users of the programs")
        equal(sandbox("down", f"{place}/box", **who).returncode, 0, "down")
        equal(os.listdir(place), [], "what is left")


def second_inkand(box, timeout):
    words = pathlib.Path("/proc", box.env["SUPERVISOR_PID"], "cmdline").read_text().split("\0")[:-1]
    return subprocess.run(words, capture_output=True, text=True, timeout=timeout)


@test
def a_second_inkand_on_the_same_state_is_refused():
    with Sandbox() as box:
        done = second_inkand(box, 10)
        equal(done.returncode, 1, "exit status")
        contains(done.stderr, f"another inkand (process {box.env['SUPERVISOR_PID']}) runs on {box.box}")
        equal(send(box.port, "sender@example.com", ["dave@example.net"], MAIL)[0], 250)


@test
def a_killed_inkand_takes_its_children_along():
    with Sandbox() as box:
        words = pathlib.Path("/proc", box.env["SUPERVISOR_PID"], "cmdline").read_text().split("\0")[:-1]
        children = box.processes("inkan-relay") + box.processes("inkan-hsm")
        os.kill(int(box.env["SUPERVISOR_PID"]), signal.SIGKILL)
        with open(f"{box.box}/inkand.log", "ab") as log:
            again = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        pathlib.Path(box.box, "inkand.pid").write_text(f"{again.pid}\n")
        wait_until(lambda: not any(alive(p) for p in children), 10, "the old programs end")
        wait_until(lambda: plain_mail(box) == 250, 40, "mail is accepted again")
        equal(send(box.port, "sender@example.com", ["dave@example.net"], MAIL)[1], "451 4.3.0 Signing is locked")
        again.terminate()
        equal(again.wait(30), 0, "exit status of inkand")


def plain_mail(box):
    with contextlib.suppress(OSError):
        return send(box.port, "x@example.org", ["dave@example.net"], crlf(b"From: x@example.org\nTo: d@example.net\n\nx\n"))[0]
    return 0


@test
def more_and_fewer_workers_without_a_gap():
    with Sandbox("--processes", "1") as box:
        for count, backend in [(3, "cryptoki"), (2, "engine")]:
            box.configure(f"set hsm processes {count}", f"set hsm backend {backend}")
            for _ in range(20):
                equal(send(box.port, "sender@example.com", ["dave@example.net"], MAIL)[0], 250, f"mail while {count} workers start")
            wait_until(lambda: len(box.processes("inkan-hsm")) == count, 15, f"{count} workers")
        shown = box.console("show hsm")
        equal([line.split()[3] for line in shown.splitlines() if line.startswith("worker")], ["running"] * 2, shown)


@test
def every_program_is_confined():
    """Looked at from outside: no new privileges, a system call filter, no capabilities but inkand's own few."""
    with Sandbox() as box:
        for pid in [int(box.env["SUPERVISOR_PID"]), *box.processes("inkan-relay"), *box.processes("inkan-hsm")]:
            status = dict(line.split(":\t", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
            equal((status["NoNewPrivs"], status["Seccomp"]), ("1", "2"), f"confinement of {status['Name']}")
            if status["Name"] != "inkand":
                equal(int(status["CapEff"], 16), 0, f"capabilities of {status['Name']}")
        if os.geteuid() == 0:
            users = {owner(pid) for pid in box.processes("inkan-relay") + box.processes("inkan-hsm")}
            equal(len(users | {0}), 3, "users")


if __name__ == "__main__":
    if shutil.which("softhsm2-util") is None:
        raise SystemExit("softhsm2-util is not installed")
    run()

#!/usr/bin/python3
"""What is made from the console's tables, whole: the JSON schema, the man pages."""
import json
import pathlib
import subprocess

import jsonschema

from inkan import Sandbox, contains, equal, run, test

BOX = Sandbox("--without-tls")


def valid(rows):
    return jsonschema.Draft202012Validator(SCHEMA).is_valid(rows)


SCHEMA = json.loads(BOX.console("show configuration schema"))


@test
def the_schema_takes_what_the_console_shows():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    equal(json.loads(BOX.console("show configuration schema | json")), SCHEMA)
    running = json.loads(BOX.console("show configuration | json"))
    equal(len(running) > 30, True)
    jsonschema.Draft202012Validator(SCHEMA).validate(running)


@test
def the_schema_refuses_what_the_console_refuses():
    for path, good, bad in [
            ("hsm processes", ["1", "32", "007"], ["0", "33", "", "x", "1 ", "-1"]),
            ("hsm backend", ["engine"], ["Engine", ""]),
            ("hsm deadline", ["1s", "10m", "600s"], ["0s", "11m", "601s", "1h", "5"]),
            ("server s smtp max-message-size", ["1K", "2G", "2048M"], ["3G", "0K", "1024", "2049M"]),
            ("server s queue retry", ["1m", "1m,5m,1d"], ["1m,", "2d", ""]),
            ("server s smtp listen 127.0.0.1:25", [""], ["x"]),
            ('server s smime exclude header "A B"', ["x"], [""]),
            ("server s user u password", ["<hidden>"], ["geheim"]),
            ("server s no-such", [], ["", "x"]),
            ("server s", [""], ["x"])]:
        for value in good:
            equal(valid([{"path": path, "value": value}]), True, f"{path} {value!r}")
        for value in bad:
            equal(valid([{"path": path, "value": value}]), False, f"{path} {value!r}")
    equal(valid([{"path": "server s"}]), False, "without a value")


@test
def the_pages_name_every_row_of_the_tables():
    pages = pathlib.Path(BOX.env["INKAN"].split()[0]).parent.parent / "man"
    shown = {name: subprocess.run(["mandoc", "-Tutf8", pages / name], capture_output=True, text=True,
                                  check=True).stdout for name in ("inkan.8", "inkan.conf.5")}
    plain = {name: plain_text(text) for name, text in shown.items()}
    for row in SCHEMA["items"]["oneOf"]:
        contains(plain["inkan.conf.5"], words_of(row["title"]))
        contains(plain["inkan.conf.5"], row["description"])
    for row in json.loads(BOX.console("help | json")):
        contains(plain["inkan.8"], words_of(row["command"]))
        contains(plain["inkan.8"], row["help"])


def plain_text(text):
    """Without overstrikes and line ends."""
    while "\b" in text:
        at = text.index("\b")
        text = text[:at - 1] + text[at + 1:]
    return " ".join(text.split())


def words_of(form):
    """A form as the page shows it."""
    shown = []
    for word in form.split():
        optional, bare = word.startswith("["), word.strip("[]")
        if bare.startswith("<"):
            bare = bare[1:-1].removesuffix("...").split(":")[0] + (" ..." if bare.endswith("...>") else "")
        bare = bare.replace("|", " | ")
        shown.append(f"[{bare}]" if optional else bare)
    return " ".join(shown)


if __name__ == "__main__":
    run()

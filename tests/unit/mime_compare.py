#!/usr/bin/python3
"""mime_compare.py [--tolerant] SHARED DIR: for each NAME.original and NAME.signed in DIR, what verify/compare sees differ.

Prints "NAME<TAB>difference" lines and at the end "compared N". One interpreter for all, since its start costs the most.
With --tolerant broken leaves are decoded as RFC 2045 6.7 and 6.8 tell robust readers to: octets outside the base64 alphabet
are passed over (Python gives up when the rest does not come out even), a stray `=` is itself (Python drops one of two).
"""
import base64
import importlib.machinery
import importlib.util
import pathlib
import re
import sys

sys.dont_write_bytecode = True


def load(path):
    loader = importlib.machinery.SourceFileLoader("compare", str(path))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("compare", loader))
    loader.exec_module(module)
    return module


def decoded(part):
    if part.encoding == "base64":
        text = re.sub(rb"[^A-Za-z0-9+/]", b"", part.body.split(b"=")[0])
        text = text[:-1] if len(text) % 4 == 1 else text
        return base64.b64decode(text + b"=" * (-len(text) % 4))
    if part.encoding == "quoted-printable":
        text = re.sub(rb"=[ \t]*(?:\r\n|$)", b"", re.sub(rb"(?<!=)[ \t]+(?=\r\n)", b"", part.body))
        return re.sub(rb"=([0-9A-Fa-f]{2})", lambda m: bytes.fromhex(m.group(1).decode()), text)
    return part.body


def main():
    tolerant = sys.argv[1] == "--tolerant"
    shared, folder = map(pathlib.Path, sys.argv[1 + tolerant:])
    module = load(shared / "verify" / "compare")
    compare = module.compare
    if tolerant:
        module.mime.Part.decoded = decoded
    originals = sorted(folder.glob("*.original"))
    for original in originals:
        for difference in compare(original.read_bytes(), original.with_suffix(".signed").read_bytes(), exact=True):
            print(original.stem, difference, sep="\t")
    print(f"compared {len(originals)}")


main()

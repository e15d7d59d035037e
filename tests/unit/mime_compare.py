#!/usr/bin/python3
"""mime_compare.py SHARED DIR: for each NAME.original and NAME.signed in DIR, the differences that verify/compare sees.

Prints "NAME<TAB>difference" lines and at the end "compared N". One interpreter for all, since its start costs the most.
"""
import importlib.machinery
import importlib.util
import pathlib
import sys

sys.dont_write_bytecode = True


def load(path):
    loader = importlib.machinery.SourceFileLoader("compare", str(path))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("compare", loader))
    loader.exec_module(module)
    return module


def main():
    shared, folder = map(pathlib.Path, sys.argv[1:])
    compare = load(shared / "verify" / "compare").compare
    originals = sorted(folder.glob("*.original"))
    for original in originals:
        for difference in compare(original.read_bytes(), original.with_suffix(".signed").read_bytes(), exact=True):
            print(original.stem, difference, sep="\t")
    print(f"compared {len(originals)}")


main()

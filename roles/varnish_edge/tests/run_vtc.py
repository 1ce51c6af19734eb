#!/usr/bin/env python3
"""Run the behaviours in vtc/ against a VCL, on the Varnish of this host.

    run_vtc.py /etc/varnish/edge.vcl                         every behaviour must hold
    run_vtc.py talk.vcl --fails talk.fails                   exactly those listed must not
    run_vtc.py /etc/varnish/edge.vcl --save 7.7.json         keep the results
    run_vtc.py --table "hugproof, 7.7=7.7.json" ...          print kept results as a table

Needs nothing but Python and Debian's varnish and varnish-modules packages.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

TESTS = Path(__file__).resolve().parent
COMPILERS = ("gcc", f"{platform.machine()}-linux-gnu-gcc")


def behaviours(directory: Path) -> dict[str, str]:
    """The sentence that each test states, by the test's name, in order."""
    found = {}
    for path in sorted(directory.glob("*.vtc")):
        first = path.read_text().partition("\n")[0]
        sentence = re.fullmatch(r'varnishtest "(.+)"', first)
        if sentence is None:
            raise SystemExit(f'{path}: the first line is not: varnishtest "a sentence"')
        found[path.stem] = sentence[1]
    if not found:
        raise SystemExit(f"{directory}: no .vtc files")
    return found


def holds(name: str, directory: Path, vcl: Path, limit: int) -> tuple[bool, str]:
    """Whether one behaviour holds, and why not."""
    command = ["varnishtest", "-t", str(limit), "-D", f"vcl={vcl}"]
    # Each test compiles the VCL, which takes longer than all else of it: without optimization.
    if compiler := next(filter(shutil.which, COMPILERS), None):
        command += ["-p", f"cc_command='exec {compiler} -O0 -pthread -fpic -shared -o %o %s'"]
    command.append(str(directory / f"{name}.vtc"))
    # varnishd is in sbin, which is not on everybody's PATH.
    environment = {**os.environ, "PATH": os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin"}
    run = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, env=environment)
    if run.returncode == 0:
        return True, ""
    if run.returncode == 77:
        return False, "skipped"
    reasons = [line[5:].strip() for line in run.stdout.splitlines() if line.startswith("---- ")]
    if not reasons and "TIMED OUT" in run.stdout:
        reasons = [f"did not come to its end in {limit} s"]
    return False, reasons[0] if reasons else run.stdout[-2000:] + run.stderr[-2000:]


def run_all(directory: Path, vcl: Path, jobs: int, limit: int) -> dict[str, tuple[bool, str]]:
    """Every behaviour of the directory against the VCL, `jobs` at a time, `limit` seconds each."""
    names = list(behaviours(directory))
    # varnishd reads the VCL as an unprivileged user when it is started as root.
    with tempfile.TemporaryDirectory(prefix="vtc.") as scratch:
        Path(scratch).chmod(0o755)
        copy = Path(scratch) / "edge.vcl"
        copy.write_bytes(vcl.read_bytes())
        copy.chmod(0o644)
        with ThreadPoolExecutor(jobs) as pool:
            return dict(zip(names, pool.map(lambda name: holds(name, directory, copy, limit), names), strict=True))


def report(directory: Path, results: dict[str, tuple[bool, str]], expected: set[str]) -> bool:
    """Print what did not hold; true if that is exactly what was expected not to.

    An expected name with a question mark before it may hold or not: a race decides.
    """
    sentences = behaviours(directory)
    undecided = {name[1:] for name in expected if name.startswith("?")}
    expected = {name for name in expected if not name.startswith("?")}
    failed = {name for name, (ok, _) in results.items() if not ok} - undecided
    for name in sorted(failed ^ expected):
        if name in failed:
            print(f"FAILS  {name}: {sentences[name]}\n       {results[name][1]}")
        elif name in results:
            print(f"HOLDS  {name}, which was expected to fail: {sentences[name]}")
        else:
            print(f"NO SUCH TEST  {name}, which was expected to fail")
    print(f"{sum(ok for ok, _ in results.values())} of {len(results)} behaviours hold")
    return failed == expected


def table(directory: Path, columns: list[str]) -> str:
    """Kept results as a Markdown table; each column is TITLE=FILE."""
    titles, files = zip(*(column.rpartition("=")[::2] for column in columns), strict=True)
    kept = [json.loads(Path(file).read_text()) for file in files]
    rows = [["", *titles], ["---", *["---"] * len(titles)]]
    for name, sentence in behaviours(directory).items():
        rows.append([sentence.replace("*", r"\*"), *["holds" if results[name] else "**fails**" for results in kept]])
    rows.append(["", *[f"{sum(results.values())} of {len(results)}" for results in kept]])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vcl", nargs="?", type=Path, help="the VCL under test")
    parser.add_argument("--vtc-dir", type=Path, default=TESTS / "vtc", help="where the behaviours are")
    parser.add_argument("--fails", type=Path, help="a list of the tests that must fail, one name a line; ?NAME may")
    parser.add_argument("--save", type=Path, help="write the results to this file")
    parser.add_argument("--table", nargs="+", metavar="TITLE=FILE", help="print kept results and exit")
    parser.add_argument("--jobs", type=int, default=4 * (os.cpu_count() or 1))
    parser.add_argument("--limit", type=int, default=40, help="seconds for one test")
    options = parser.parse_args()
    if options.table:
        print(table(options.vtc_dir, options.table))
        return 0
    if options.vcl is None:
        parser.error("which VCL?")
    results = run_all(options.vtc_dir, options.vcl, options.jobs, options.limit)
    if options.save:
        options.save.write_text(json.dumps({name: ok for name, (ok, _) in results.items()}, indent=1) + "\n")
    expected = set(options.fails.read_text().split()) if options.fails else set()
    return 0 if report(options.vtc_dir, results, expected) else 1


if __name__ == "__main__":
    sys.exit(main())

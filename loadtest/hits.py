"""What Python is not fast enough for: answers from the cache, measured with h2load, a generator in C."""

from __future__ import annotations

import re
import statistics
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from testinfra.host import Host

from loadtest.results import percentile
from loadtest.target import LoadError, Target

PATHS = ("/", "/profile/1/")
# A varnishd of its own beside the site's, with stock settings, so that a ceiling has something to be held against.
BARE_PORT = 6081
BARE = "hugproof-bare-varnish"


@dataclass
class Probe:
    """Asks for pages that are hits at a low, constant rate, over connections of its own."""

    target: Target
    rate: int = 10  # requests a second on each of two connections
    result: dict[str, Any] = field(default_factory=dict)

    @contextmanager
    def running(self, seconds: float) -> Iterator[None]:
        """Probe while the block runs, at most for `seconds`; then `result` has what was seen."""
        with tempfile.TemporaryDirectory(prefix="loadtest-") as directory:
            log = Path(directory) / "log"
            options = ("--clients=2", f"--rps={self.rate}", f"--duration={seconds:.0f}", f"--log-file={log}")
            process = subprocess.Popen(
                h2load(self.target, *options, *(f"https://{self.target.domain}{path}" for path in PATHS)),
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            try:
                yield
                process.wait(timeout=30)
                self.result = probed(log.read_text())
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()


def h2load(target: Target, *arguments: str) -> list[str]:
    """The command, for HTTP/1.1 to where visitors come in; it is bounded by its own --duration."""
    return ["h2load", "--h1", f"--connect-to={target.entry}:443", *arguments]


def probed(log: str) -> dict[str, Any]:
    """Requests, failed ones, and percentiles in milliseconds, from h2load's log: start, status, microseconds a line."""
    times: Counter[float] = Counter()
    failed = 0
    for line in log.splitlines():
        _, status, microseconds, *_ = line.split("\t")
        if status == "200":
            times[round(int(microseconds) / 1000, 2)] += 1
        else:
            failed += 1
    ordered = sorted(times.items())
    return {
        "requests": times.total(),
        "failed": failed,
        **{f"p{share:g}": percentile(ordered, share / 100) for share in (50, 95, 99)},
    }


def ceiling(target: Target, rounds: int, seconds: int = 10) -> dict[str, Any]:
    """Hits a second over HTTPS through the edge, and of a bare varnishd with stock settings over HTTP, in turn.

    Raises LoadError when h2load fails, or answers are not all 200.
    """
    edge = target.hosts()[target.groups["edge"][0]]
    front: list[float] = []
    bare: list[float] = []
    with _bare_varnish(edge, target):
        for _ in range(rounds):
            front.append(_rate(h2load(target, *_all_out(seconds), f"https://{target.domain}{PATHS[1]}")))
            address = target.addresses[target.groups["edge"][0]]
            command = ["h2load", "--h1", f"--connect-to={address}:{BARE_PORT}", *_all_out(seconds)]
            bare.append(_rate([*command, "--header=X-Forwarded-Proto: https", f"http://{target.domain}{PATHS[1]}"]))
    ratios = [one / other for one, other in zip(front, bare, strict=True)]
    return {"front": front, "bare": bare, "ratio": round(statistics.median(ratios), 3)}


def _all_out(seconds: int) -> tuple[str, ...]:
    return ("--clients=50", f"--duration={seconds}", "--warm-up-time=1")


def _rate(command: list[str]) -> float:
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    found = re.search(r"finished in .*?, ([0-9.]+) req/s", done.stdout)
    codes = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", done.stdout)
    if done.returncode or not found or not codes or any(int(count) for count in codes.groups()[1:]):
        raise LoadError(f"{' '.join(command)}:\n{(done.stdout + done.stderr)[-2000:]}")
    return float(found[1])


@contextmanager
def _bare_varnish(edge: Host, target: Target) -> Iterator[None]:
    """A second varnishd on the edge host, whose origin is the host's balancer; it and its port go with the block."""
    edge.check_output(
        f"systemd-run --quiet --collect --unit={BARE} --property=LimitMEMLOCK=infinity "
        f"varnishd -F -n /run/{BARE} -a :{BARE_PORT} -b /run/nginx-balancer.sock -s malloc,256m"
    )
    rule = f"tcp dport {BARE_PORT} accept comment {BARE}"
    try:
        edge.check_output(f"nft insert rule inet hugproof input {rule}")
        ask = f"curl -sf -o /dev/null -H 'Host: {target.domain}' -H 'X-Forwarded-Proto: https' localhost:{BARE_PORT}/"
        deadline = time.monotonic() + 30
        while edge.run(ask).rc != 0:
            if time.monotonic() > deadline:
                raise LoadError(f"The bare varnishd on {target.groups['edge'][0]} does not answer within 30 s.")
            time.sleep(0.2)
        yield
    finally:
        handle = edge.run(f"nft -a list chain inet hugproof input | sed -n 's/.*{BARE}.*handle //p'").stdout.strip()
        if handle:
            edge.run(f"nft delete rule inet hugproof input handle {handle}")
        edge.run(f"systemctl stop {BARE}")

"""What a run costs: CPU time and memory of every host, and the edge's hits, read over ssh."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from testinfra.host import Host

# A container and a machine both have their CPU time in the root of their control groups. Memory is the sum of what
# the processes use, shared pages counted once (PSS).
READ = r"""
import glob, json, shutil, subprocess
def pss(path):
    try:
        return next(int(line.split()[1]) for line in open(path) if line.startswith("Pss:"))
    except (OSError, StopIteration):
        return 0
found = {"cpu": next(int(line.split()[1]) / 1e6 for line in open("/sys/fs/cgroup/cpu.stat") if "usage_usec" in line)}
if %(memory)r:
    found["memory_mb"] = round(sum(map(pss, glob.glob("/proc/[0-9]*/smaps_rollup"))) / 1024)
if shutil.which("varnishstat"):
    done = subprocess.run(["varnishstat", "-1", "-j", "-f", "MAIN.*"], capture_output=True, text=True)
    if done.returncode == 0:
        counters = json.loads(done.stdout)
        counters = counters.get("counters", counters)
        names = "cache_hit cache_hit_grace cache_miss cache_hitmiss cache_hitpass s_pass s_fetch client_req".split()
        found["varnish"] = {name: counters["MAIN." + name]["value"] for name in names}
print(json.dumps(found))
"""

Reading = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Meters:
    """Reads all hosts of a target at once."""

    hosts: dict[str, Host]

    def read(self, memory: bool = False) -> Reading:
        """By host: `cpu` in seconds since its boot, `memory_mb` when asked for, `varnish` counters if it runs."""

        def one(host: Host) -> dict[str, Any]:
            found: dict[str, Any] = json.loads(host.check_output("python3 -c %s", READ % {"memory": memory}))
            return found

        with ThreadPoolExecutor(len(self.hosts)) as pool:
            return dict(zip(self.hosts, pool.map(one, self.hosts.values()), strict=True))

    @contextmanager
    def memory_peaks(self, every: float = 15.0) -> Iterator[dict[str, int]]:
        """By host, the most memory in MB that was seen while the block runs, looking `every` so many seconds."""
        peaks: dict[str, int] = {}
        over = threading.Event()

        def look() -> None:
            for name, reading in self.read(memory=True).items():
                peaks[name] = max(peaks.get(name, 0), reading["memory_mb"])

        def watch() -> None:
            while not over.wait(every):
                look()

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            yield peaks
            look()
        finally:
            over.set()
            watcher.join()


def used(before: Reading, after: Reading) -> dict[str, float]:
    """CPU seconds by host between two readings; a host that was rebooted meanwhile counts from its boot."""
    return {
        name: round(after[name]["cpu"] - (before[name]["cpu"] if before[name]["cpu"] <= after[name]["cpu"] else 0), 3)
        for name in after
    }


def hit_ratio(before: Reading, after: Reading) -> float | None:
    """The share of all clients' requests that the caches answered; None where no cache runs."""
    hits = requests = 0
    for name, reading in after.items():
        if "varnish" not in reading or "varnish" not in before[name]:
            continue
        new, old = reading["varnish"], before[name]["varnish"]
        hits += new["cache_hit"] - old["cache_hit"]
        requests += new["client_req"] - old["client_req"]
    return round(hits / requests, 4) if requests else None

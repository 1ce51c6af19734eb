"""Climbs the ladder: every rung under the talk's load, again and again, and the talk's finale at the top."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import ExitStack, nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from loadtest import load
from loadtest.hits import Probe, ceiling
from loadtest.load import Load, Plan
from loadtest.meters import Meters, hit_ratio, used
from loadtest.results import failures, histogram, hits_of, summary
from loadtest.target import BIN, PROJECT, LoadError, Target

RUNGS = ("runserver", "uwsgi", "balanced", "cached")
BEHIND_EDGE = ("balanced", "cached")
# What can go wrong with a run and is told: one of ours, testinfra's two, and commands that fail or are not there.
FAULTS = (LoadError, RuntimeError, AssertionError, OSError, subprocess.SubprocessError)


@dataclass(frozen=True)
class Step:
    """A rung, how many web hosts take part in it, how many users there are, and a mix if not the ladder's own."""

    rung: str
    web: int
    users: int
    mix: str = ""

    @property
    def name(self) -> str:
        return f"{self.rung}-{self.web}-{self.users}" + (f"-{self.mix}" if self.mix else "")

    def __str__(self) -> str:
        hosts = f"{self.web} web host{'s' if self.web > 1 else ''}"
        return f"{self.rung}, {hosts}, {self.users} users" + (f", {self.mix} mix" if self.mix else "")


# The talk's own steps, and what it does not show: one web host behind the edge, and three.
STEPS = (
    Step("runserver", 1, 50),
    Step("uwsgi", 1, 50),
    Step("uwsgi", 1, 100),
    Step("balanced", 1, 200),
    Step("balanced", 2, 100),
    Step("balanced", 2, 200),
    Step("balanced", 3, 200),
    Step("cached", 3, 200),
    Step("cached", 2, 200),
    Step("cached", 2, 400),
    Step("cached", 1, 200),
)
# The other mix of the talk, where its ratios are; in a ladder of the published mix alone.
SPOKEN = (
    Step("runserver", 1, 50, "spoken"),
    Step("balanced", 2, 200, "spoken"),
    Step("cached", 2, 200, "spoken"),
)


def steps_of(mix: str, rungs: list[str] | None = None, *, own_plan: bool = False) -> list[Step]:
    """The steps of a ladder in the order of its rungs, of `rungs` alone if given; own plans have one mix."""
    every = [*STEPS, *(SPOKEN if mix == "published" and not own_plan else ())]
    return sorted((step for step in every if step.rung in (rungs or RUNGS)), key=lambda step: RUNGS.index(step.rung))


FINALE = Step("cached", 2, 200)
# What the finale is about: what the cache has had when the web hosts go.
HOT_CLASSES = ("home", "hot profile")
# Seconds of the finale before the web hosts go off, and after they are on again.
BEFORE = 20
AFTERWARDS = 60


@dataclass(frozen=True)
class Power:
    """Switches all web hosts of a target off and on: the hosts themselves in the lab, else the application on them."""

    target: Target

    def off(self) -> None:
        if not self._lab("stop", "--hard"):
            self._units("stop")

    def on(self) -> None:
        if not self._lab("start"):
            self._units("start")

    def _lab(self, *command: str) -> bool:
        lab = [sys.executable, "-m", "lab", "-i", str(self.target.inventory)]
        status = subprocess.run([*lab, "status", "--json"], cwd=PROJECT, capture_output=True, text=True)
        if status.returncode or any(host["state"] == "absent" for host in json.loads(status.stdout)["hosts"]):
            return False
        subprocess.run([*lab, *command, *self.target.groups["web"]], cwd=PROJECT, check=True, capture_output=True)
        return True

    def _units(self, verb: str) -> None:
        hosts = self.target.hosts()
        for name in self.target.groups["web"]:
            hosts[name].check_output(f"systemctl {verb} %s", self.target.application)


# The example application's own plan, in a file of results.
PEOPLE = "people"


@dataclass
class Settings:
    """What all runs of a ladder have in common; a file of results with others is not gone on with."""

    inventory: str
    plan: str = PEOPLE
    options: tuple[str, ...] = ()
    mix: str = "published"
    profiles: int = 500_000
    seconds: int = 30
    warmup: int = 20
    caps: dict[str, float] = field(default_factory=dict)
    workers: int = 1


@dataclass
class Ladder:
    """The runs so far, and where they are kept."""

    target: Target
    settings: Settings
    file: Path
    plan: Plan
    runs: list[dict[str, Any]] = field(default_factory=list)
    finale: dict[str, Any] = field(default_factory=dict)
    ceiling: dict[str, Any] = field(default_factory=dict)
    rung: str = ""
    drained: list[str] = field(default_factory=list)
    prepared: bool = False

    def resume(self) -> int:
        """Take over what an earlier climb with the same settings has measured; returns how many runs that is."""
        if not self.file.exists():
            return 0
        found = json.loads(self.file.read_text())
        if found.get("settings") != json.loads(json.dumps(asdict(self.settings))):
            raise LoadError(f"{self.file} holds results with other settings: move it away, or give --fresh.")
        self.runs = [run for run in found["runs"] if "error" not in run]
        self.finale = found["finale"]
        self.ceiling = found["ceiling"]
        return len(self.runs)

    def save(self) -> None:
        """Write all results, at once."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        found = {
            "settings": asdict(self.settings),
            "machine": machine(),
            "groups": self.target.groups,
            "runs": self.runs,
            "ceiling": self.ceiling,
            "finale": self.finale,
        }
        part = self.file.with_suffix(".part")
        part.write_text(json.dumps(found, separators=(",", ":")))
        part.rename(self.file)

    def climb(self, steps: Iterable[Step], repeats: int) -> None:
        """Run every step as often as asked for, going round: no step has the machine's best hour to itself."""
        steps = [step for step in steps if step.web <= len(self.target.groups["web"])]
        todo = [(repeat, step) for repeat in range(1, repeats + 1) for step in steps if not self.done(repeat, step)]
        for number, (repeat, step) in enumerate(todo, start=1):
            say(f"[{number}/{len(todo)}] {step}, round {repeat}")
            run: dict[str, Any] = {"step": step.name, "repeat": repeat, **asdict(step)}
            try:
                self.reach(step)
                run |= self.measure(step)
                say(f"    {run['requests_per_second']:.1f} requests/s, {run['failed']} failed")
            except FAULTS as error:
                run["error"] = str(error)
                say(f"    FAILED: {error}")
                self.rung = ""
            self.runs.append(run)
            self.save()

    def done(self, repeat: int, step: Step) -> bool:
        return any(run["step"] == step.name and run["repeat"] == repeat for run in self.runs)

    def reach(self, step: Step) -> None:
        """Bring the cluster to a step, and see that its visitors get what they come for."""
        if self.rung != step.rung:
            self.drain([])
            self.rung = ""
            say(f"    moving to the rung {step.rung}")
            playbook(self.target, f"playbooks/{step.rung}.yml")
            self.prepare()
            self.rung = step.rung
            if step.rung in BEHIND_EDGE:  # where somebody else may have drained hosts
                self.pool("undrain", self.target.groups["web"])
        if step.rung in BEHIND_EDGE:
            self.drain(self.target.groups["web"][step.web :])
        with load.traffic(self.target, step.rung, self.plan_of(step), Load(seconds=5, trial=True)) as trial:
            trial.wait()
        if wrong := failures(trial.recorded):
            raise LoadError(f"One visitor, before any load: {wrong}")
        if not trial.recorded["classes"]:
            raise LoadError(f"One visitor, before any load: no answer in 5 s from {self.target.url(step.rung)}.")

    @property
    def is_people(self) -> bool:
        """Whether the plan is the example application's; a plan of the user's brings its own data."""
        return self.plan.file == load.PEOPLE

    def plan_of(self, step: Step) -> Plan:
        """The plan with the step's mix."""
        if not self.is_people:
            return self.plan
        return replace(self.plan, arguments=("--mix", step.mix or self.settings.mix, *self.plan.arguments))

    def prepare(self) -> None:
        """Profiles and accounts for the example's plan, once: the rungs share the database."""
        if self.is_people and not self.prepared:
            load_data(self.target, self.plan, profiles=self.settings.profiles)
            self.prepared = True

    def drain(self, hosts: list[str]) -> None:
        """Take these web hosts out of the pool, and all others back in."""
        self.pool("undrain", [host for host in self.drained if host not in hosts])
        self.pool("drain", [host for host in hosts if host not in self.drained])
        self.drained = hosts

    def pool(self, name: str, hosts: list[str]) -> None:
        """Drain or undrain these web hosts."""
        if hosts:
            playbook(self.target, f"playbooks/{name}.yml", host=",".join(hosts))

    def tidy(self) -> None:
        """The accounts go, and what they created; the whole pool serves again."""
        self.drain([])
        if self.prepared:
            load_data(self.target, self.plan, accounts=0)
            self.prepared = False

    def top(self, rounds: int) -> None:
        """How many hits a second the edge can hand out, beside a bare varnishd."""
        say("[hits] the edge over HTTPS, and a bare varnishd over HTTP, in turn")
        try:
            self.reach(FINALE)
            self.ceiling = ceiling(self.target, rounds)
            say(f"    {self.ceiling['ratio']} of a bare varnishd")
        except FAULTS as error:
            say(f"    FAILED: {error}")
            self.ceiling = {"error": str(error)}
        self.save()

    def finish(self, off: int) -> None:
        """The talk's finale: under load all web hosts go off, for `off` seconds, and on again."""
        step = FINALE
        say(f"[finale] {step}; the web hosts go off for {off} s and on again")
        try:
            self.reach(step)
            web = Power(self.target)
            length = self.load(step, BEFORE + off + AFTERWARDS)
            probe = Probe(self.target)
            with (
                load.traffic(self.target, step.rung, self.plan_of(step), length) as traffic,
                probe.running(length.seconds) if self.is_people else nullcontext(),
            ):
                began = time.monotonic()
                time.sleep(BEFORE)
                try:
                    web.off()
                    time.sleep(max(BEFORE + off - (time.monotonic() - began), 0))
                finally:
                    on = time.monotonic() - began
                    web.on()
                traffic.wait()
        except FAULTS as error:
            say(f"    FAILED: {error}")
            self.finale = {"error": str(error)}
        else:
            classes = summary(traffic.recorded)
            cached = sum(classes[name]["failed"] for name in HOT_CLASSES if name in classes)
            self.finale = {
                "off": BEFORE,
                "on": round(on, 1),
                "classes": classes,
                "cached_failed": cached,
                "probe": probe.result,
                "cached_requests": sum(classes[name]["requests"] for name in HOT_CLASSES if name in classes),
                "seconds": {name: entry["seconds"] for name, entry in traffic.recorded["classes"].items()},
            }
            say(f"    {cached} requests for the home page and the hot profiles failed; hits: {probe.result}")
        self.save()

    def load(self, step: Step, seconds: float) -> Load:
        """A step's users, for so many seconds after the warm-up."""
        return Load(step.users, seconds=seconds, warmup=self.settings.warmup, workers=self.settings.workers)

    def measure(self, step: Step) -> dict[str, Any]:
        """One run of a step under load, as a row of the results."""
        meters = Meters(self.target.hosts())
        probe = Probe(self.target)
        length = self.load(step, self.settings.seconds)
        with load.traffic(self.target, step.rung, self.plan_of(step), length) as traffic, ExitStack() as beside:
            if step.rung == "cached" and self.is_people:
                beside.enter_context(probe.running(self.settings.seconds))
            before = meters.read()
            memory = beside.enter_context(meters.memory_peaks())
            traffic.wait()
            after = meters.read()
        cpu = used(before, after)
        classes = summary(traffic.recorded)
        answered = sum(entry["requests"] for entry in classes.values())
        return {
            "requests": answered,
            "requests_per_second": round(answered / traffic.recorded["seconds"], 2),
            "failed": sum(entry["failed"] for entry in classes.values()),
            "classes": classes,
            "histogram": histogram(traffic.recorded),
            "hit_ratio": hits_of(traffic.recorded) if step.rung == "cached" else None,
            "varnishstat_hit_ratio": hit_ratio(before, after),
            "web_hosts": self.target.groups["web"],
            "hosts": {
                name: {
                    "cpu_seconds": cpu[name],
                    "cpu_ms_per_request": round(cpu[name] * 1000 / max(answered, 1), 3),
                    "peak_memory_mb": memory[name],
                }
                for name in after
            },
            "probe": probe.result,
            "generator": {"cpu_seconds": traffic.recorded["cpu_seconds"]},
        }


def load_data(target: Target, plan: Plan, **variables: int) -> None:
    """What the example's plan needs in the directory: `profiles`, and `accounts` with the plan's password."""
    playbook(target, "playbooks/load_data.yml", {"DJANGO_LOAD_PASSWORD": plan.password}, **variables)


def playbook(target: Target, name: str, environment: dict[str, str] | None = None, **variables: object) -> None:
    """Run one of the project's playbooks; raises LoadError with its last words when it fails."""
    command = [str(BIN / "ansible-playbook"), "-i", str(target.inventory), name, "-e", json.dumps(variables)]
    done = subprocess.run(
        command,
        cwd=PROJECT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=os.environ | (environment or {}),
    )
    if done.returncode:
        raise LoadError(f"{name} failed:\n{(done.stdout + done.stderr)[-3000:]}")


def machine() -> dict[str, Any]:
    """The machine that the generator, and in the lab all hosts, run on."""
    cpu = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    memory = int(Path("/proc/meminfo").read_text().split()[1]) // 1024 // 1024
    return {"cpu": cpu, "cores": len(os.sched_getaffinity(0)), "memory_gib": memory, "kernel": platform.release()}


def say(text: str) -> None:
    """Tell the user, with the time."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)

#!/usr/bin/python3
"""Releases on this web host: what there is, which one runs, and the way from one to another.

A release is a directory below HOME/releases. HOME/current is the one that runs, HOME/previous the one before it; while
hosts switch, HOME/switching is the one to go back to. Playbooks call this; `hugproof-release list` is for people.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

REFUSED = 3  # the exit status when another run holds the lock
CRASHES = 3  # a service that has ended by itself this often will not get ready
POLL_SECONDS = 0.2
LINES_TOLD = 100  # of the journal of a service that does not get ready
UNITS = Path("/etc/systemd/system")


def utc(seconds: float) -> str:
    """A time in seconds since 1970 as people read it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


class Releases:
    """The releases below a home directory, and the links that name some of them."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def link(self, name: str) -> Path | None:
        """The release that current, previous or switching names; None where there is none."""
        path = self.home / name
        return path.readlink() if path.is_symlink() else None

    def point(self, name: str, release: Path) -> None:
        """Let a link name a release: at no moment is there none."""
        new = self.home / f".{name}.new"
        new.unlink(missing_ok=True)
        new.symlink_to(release)
        new.replace(self.home / name)

    def service(self, release: Path) -> dict[str, Any]:
        """How the service that runs a release is reached, from the head of its environment."""
        head = (release / "environment").read_text().partition("\n")[0]
        found: dict[str, Any] = json.loads(head.removeprefix("# "))
        return found

    def whole(self) -> list[Path]:
        """All releases that were built to the end, the one that ran last first."""
        marks = {mark.parent: mark.stat().st_mtime for mark in self.home.glob("releases/*/.complete-python*")}
        return sorted(marks, key=lambda release: marks[release], reverse=True)

    def add(self, name: str, wanted: dict[str, Any]) -> bool:
        """Lay out a release, with nothing left of a build that was cut short; whether its environment is whole.

        `wanted` says `archive`, with the source, which is removed; `user`, of the application; `media`, a directory for
        it to write to; `environment`, the virtual one; and `files` of configuration, their contents by name.
        """
        release, user, environment = self.home / "releases" / name, wanted["user"], Path(wanted["environment"])
        if release.exists():
            shutil.rmtree(release)
        for directory in (self.home, release.parent, release, release / "source", release / "units"):
            _directory(directory, "root")
        downloads = Path("/var/cache/hugproof/pip")
        for directory in (release / "static", self.home / "venvs", self.home / "static", downloads):
            _directory(directory, user)
        if not Path(wanted["media"]).exists():
            _directory(Path(wanted["media"]), user, 0o750)
        command = ["tar", "--extract", "--gzip", "--no-same-owner", "--file", wanted["archive"], "--directory", release]
        subprocess.run(command, check=True)
        Path(wanted["archive"]).unlink()
        for file, text in wanted["files"].items():
            (release / file).touch(0o640)
            shutil.chown(release / file, "root", user)
            (release / file).write_text(text)
        (release / "venv").symlink_to(environment)
        return (environment / ".complete").exists()

    def named(self, name: str) -> Path:
        """The release of that name. Raises SystemExit if it is not whole."""
        release = self.home / "releases" / name
        if release not in self.whole():
            sys.exit(f"There is no release {name} here: see hugproof-release list.")
        return release

    def switch(self, name: str, by: str) -> None:
        """Make a release the current one, and remember which to go back to. Raises SystemExit if it is not whole."""
        release = self.named(name)
        old = self.link("current")
        if old == release:
            return
        if self.link("switching") == release:
            (self.home / "switching").unlink()
        elif old and not self.link("switching"):
            self.point("switching", old)
        self._change(old, release, by)

    def back(self, by: str) -> str:
        """Make the release current again that was so before this host switched; return the unit it runs in.

        Empty when this host has not switched.
        """
        release = self.link("switching")
        if not release:
            return ""
        unit = str(self.service(release)["unit"])
        self._change(self.link("current"), release, by)
        (self.home / "switching").unlink()
        return unit

    def find(self, name: str) -> str:
        """The full name of a release: by its beginning, or `previous`, the one before a switch or the last one.

        Raises SystemExit if there is none, more than one, or one that runs in another unit, of another rung.
        """
        if name == "previous":
            found = [release for release in [self._before()] if release in self.whole()]
        else:
            found = [release for release in self.whole() if release.name.startswith(name)]
        here = "The releases here are:\n" + ("\n".join(self.table()) or "none")
        if len(found) != 1:
            why = "More than one" if found else "No"
            joined = (
                "If other hosts have one, this one joined later: deploy the older version anew, or retire it first."
            )
            sys.exit(f"{why} release here is '{name}'. {here}\n{joined if name == 'previous' else ''}".strip())
        current = self.link("current")
        # runserver and uWSGI share a unit; only the latter tells statistics.
        if current and any(self.service(found[0])[key] != self.service(current)[key] for key in ("unit", "stats")):
            sys.exit(f"Release {found[0].name} is one of another rung. {here}")
        return found[0].name

    def _before(self) -> Path | None:
        """What a switch under way is to be undone to, or what ran before the current release.

        A switch to the release before is a way back, which is not undone but finished.
        """
        switching, previous = self.link("switching"), self.link("previous")
        return previous if previous == self.link("current") else switching or previous

    def drop_unfinished(self) -> None:
        """Remove what a build has left that was not whole in the end."""
        for release in set(self._directories("releases")) - {*self.whole(), self.link("current")}:
            shutil.rmtree(release)
        for environment in self._directories("venvs"):
            if not (environment / ".complete").exists():
                shutil.rmtree(environment)

    def finish(self, keep: int) -> list[str]:
        """End a switch: remember the release before, and keep the `keep` that ran last besides the current one.

        The one before is kept in any case. Returns what went.
        """
        if old := self.link("switching"):
            if old != self.link("current"):
                self.point("previous", old)
            (self.home / "switching").unlink()
        others = [release for release in self.whole() if release not in {self.link("current"), self.link("previous")}]
        before = [release for release in [self.link("previous")] if release]
        kept = {self.link("current"), *before, *others[: max(keep - len(before), 0)]}
        gone = [release for release in self._directories("releases") if release not in kept]
        links = [link for link in self.home.glob("releases/*/venv") if link.parent in kept and link.is_symlink()]
        environments = {link.readlink() for link in links}
        gone += [environment for environment in self._directories("venvs") if environment not in environments]
        for directory in gone:
            shutil.rmtree(directory)
        return [str(directory) for directory in gone]

    def table(self) -> Iterable[str]:
        """A line for each release: its name, when it ran last (or was built), and what it is."""
        names = {name: self.link(name) for name in ("current", "previous", "switching")}
        for release in self.whole():
            ran = max(mark.stat().st_mtime for mark in release.glob(".complete-python*"))
            yield " ".join([release.name, utc(ran), *(name for name, named in names.items() if named == release)])

    def _directories(self, kind: str) -> list[Path]:
        return sorted(path for path in self.home.glob(f"{kind}/*") if path.is_dir())

    def _change(self, old: Path | None, new: Path, by: str) -> None:
        for mark in new.glob(".complete-python*"):
            mark.touch()
        with (self.home / "releases.log").open("a") as log:
            log.write(f"{utc(time.time())} {old.name if old else '-'} -> {new.name} by {by}\n")
        self.point("current", new)


class Lock:
    """Held by one run at a time; it does not outlive a reboot."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def holder(self) -> str:
        """Who holds it; empty when nobody does."""
        return self.path.read_text() if self.path.exists() else ""

    def take(self, run: str, instead_of: str) -> str:
        """Take it, also from a run that has ended; return who holds it afterwards."""
        if instead_of and self.holder() == instead_of:
            self.path.unlink()
        draft = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        draft.write_text(run)
        try:
            os.link(draft, self.path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
        return self.holder()

    def leave(self, run: str) -> None:
        """Let go of it, where `run` holds it."""
        if self.holder() == run:
            self.path.unlink()


class Unit(ABC):
    """A unit of systemd's that runs a release."""

    def __init__(self, name: str, release: Path) -> None:
        self.name, self.release = name, release

    @abstractmethod
    def look(self) -> str:
        """Why the unit does not run the release; empty when it does. May raise what asking it raises."""

    def trouble(self) -> str:
        """Why the unit does not run the release; empty when it does."""
        try:
            return self.look()
        except (OSError, ValueError, http.client.HTTPException) as error:
            return str(error)

    def start(self) -> None:
        """Start it anew from what is on disk, also after a boot. Raises SystemExit where systemd does not even try.

        A service that ends before it is ready is started again, and need not have failed for good.
        """
        # A file that was gone for a while is not read anew without.
        if self._shown("NeedDaemonReload") == "yes" or self._shown("LoadState") != "loaded":
            subprocess.run(["systemctl", "daemon-reload"], check=True)
        if self._shown("UnitFileState") != "enabled":
            subprocess.run(["systemctl", "enable", "--quiet", self.name], check=True)
        before = self._shown("InvocationID")
        command = ["systemctl", "restart", self.name]
        asked = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
        if asked.returncode and self._shown("InvocationID") == before:
            sys.exit(f"systemd does not start {self.name}: {asked.stderr.strip()}")
        if asked.stderr:
            print(asked.stderr.strip(), file=sys.stderr)

    def wait(self, limit: float) -> None:
        """Wait until it runs. Raises SystemExit with the reason and the journal when it does not within the limit."""
        end, crashes = time.monotonic() + limit, self._crashes()
        reason = "it was not asked"
        while time.monotonic() < end:
            reason = self.trouble()
            if not reason:
                return
            if self._crashes() >= crashes + CRASHES:
                reason = f"it has ended by itself {CRASHES} times"
                break
            if self._shown("ActiveState") in {"failed", "inactive"}:
                reason = "it has ended, and systemd does not start it again"
                break
            time.sleep(POLL_SECONDS)
        said = "\n".join(self._journal()[-LINES_TOLD:])
        sys.exit(f"{self.name} does not run release {self.release.name}: {reason}.\n{said}")

    def _journal(self) -> list[str]:
        """The last lines of the unit's journal, those of one process together.

        Workers load the application at the same time, and when the first fails uWSGI interrupts the others: what these
        say of it is left out.
        """
        command = ["journalctl", f"--unit={self.name}", "--no-pager", "--output=json", "--lines=1000"]
        told = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        processes: dict[str, list[str]] = {}
        for entry in map(json.loads, told.splitlines()):
            message = entry.get("MESSAGE") or ""  # bytes, as numbers, where it is no text
            text = message if isinstance(message, str) else bytes(message).decode(errors="replace")
            processes.setdefault(entry.get("_PID", ""), []).append(text)
        return [line for lines in processes.values() if "KeyboardInterrupt" not in lines for line in lines]

    def _strangers(self, processes: list[int]) -> int:
        """How many of the processes run another release."""
        source = self.release.resolve() / "source"
        return sum(not Path(f"/proc/{pid}/cwd").readlink().is_relative_to(source) for pid in processes)

    def _crashes(self) -> int:
        return int(self._shown("NRestarts"))

    def _shown(self, name: str) -> str:
        command = ["systemctl", "show", f"--property={name}", "--value", self.name]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() or "0"


class Service(Unit):
    """The application's service, which runs what HOME/current names."""

    def __init__(self, settings: dict[str, Any], release: Path) -> None:
        super().__init__(settings["unit"], release)
        self.settings = settings

    def start(self) -> None:
        """Start it anew as the release's own unit says.

        Requests wait meanwhile, in a socket of systemd's, where the release brings one.
        """
        self._place()
        self._hold()
        super().start()

    def _place(self, units: Path = UNITS) -> None:
        """Put the release's unit in the place of what runs another one. Raises SystemExit where systemd refuses it."""
        wanted = self.release / "application.service"
        if wanted.exists() and wanted.read_text() != _text(units / self.name):
            command = ["systemd-analyze", "verify", "--man=no", f"{wanted}:{self.name}"]
            if subprocess.run(command, check=False).returncode:
                sys.exit(f"systemd refuses the unit of release {self.release.name}.")
            _put(units / self.name, wanted.read_text())

    def _hold(self, units: Path = UNITS) -> None:
        """Let systemd hold the socket that the release brings, or none.

        While it holds that one already, nobody is refused. Else the service has to end first: the socket is there when
        it starts.
        """
        file, wanted = units / f"{self.name.removesuffix('.service')}.socket", self.release / "application.socket"
        if not wanted.exists():
            if file.exists():
                subprocess.run(["systemctl", "--quiet", "stop", self.name, file.name], check=True)
                file.unlink()
        elif _put(file, wanted.read_text()) or not _is_active(file.name):
            subprocess.run(["systemctl", "daemon-reload"], check=True)
            subprocess.run(["systemctl", "--quiet", "stop", self.name, file.name], check=True)

    def look(self) -> str:
        """Whether all workers serve the release."""
        processes = self._workers() if self.settings["stats"] else [int(self._shown("MainPID"))]
        if not processes or 0 in processes:
            return f"{processes.count(0)} of {len(processes)} workers have not loaded the application"
        if strangers := self._strangers(processes):
            return f"{strangers} of {len(processes)} workers run another release"
        return self._answer_trouble()

    def _workers(self) -> list[int]:
        """Process ids of uWSGI's workers; 0 for each that has not loaded the application."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(self.settings["stats"])
            workers = json.load(connection.makefile())["workers"]
        return [worker["pid"] if worker["apps"] else 0 for worker in workers if worker["status"] != "cheap"]

    def _answer_trouble(self) -> str:
        path = self.settings["health_path"]
        connection = http.client.HTTPConnection(self.settings["address"], self.settings["port"] or None, timeout=5)
        if self.settings["socket"]:
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.settimeout(5)
            connection.sock.connect(self.settings["socket"])
        connection.request("GET", path, headers=self.settings["headers"])
        status = connection.getresponse().status
        connection.close()
        return "" if status < http.HTTPStatus.BAD_REQUEST else f"{path} is answered with {status}"


class Timer(Unit):
    """A timer: what it starts runs the release that is on disk by then."""

    def look(self) -> str:
        """Whether it waits for its next time."""
        state = self._shown("ActiveState")
        return "" if state == "active" else f"it is {state}"


class Celery(Unit):
    """A worker of Celery's, or its beat."""

    def look(self) -> str:
        """Whether it has loaded the application and its tasks from the release: then it writes its process id."""
        process = int(self._shown("MainPID"))
        written = Path("/run", self.name.removesuffix(".service"), "pid")
        if not process or not written.exists() or int(written.read_text()) != process:
            return "it has not loaded the application"
        return "it runs another release" if self._strangers([process]) else ""


class Background:
    """The host's background work: the units that a release brings with it, and no others.

    NAME-worker.service is for every host, the rest for one of them. What has no [Install] is started by a timer.
    """

    def __init__(self, home: Path, units: Path = UNITS) -> None:
        self.units, self.worker = units, f"{home.name}-worker.service"
        self.patterns = [self.worker, f"{home.name}-beat.service", f"{home.name}-periodic-*"]

    def wanted(self, release: Path | None, *, first: bool) -> dict[str, str]:
        """The contents of the unit files that a release has for this host, by name.

        The worker's comes first: what sends tasks is not to meet the one before, which does not know them.
        """
        files = sorted(release.glob("units/*"), key=lambda file: (file.name != self.worker, file)) if release else []
        return {file.name: file.read_text() for file in files if first or file.name == self.worker}

    def placed(self) -> dict[str, str]:
        """The contents of the unit files that this host has, by name."""
        files = [file for pattern in self.patterns for file in self.units.glob(pattern) if file.is_file()]
        return {file.name: file.read_text() for file in files}

    def go_over(self, release: Path | None, limit: float, *, first: bool, anew: bool) -> list[str]:
        """Let the units be those of a release, and wait until they run it; return the names of those that changed.

        Services end what they are at before; commands that a timer has started are left to end by themselves. Raises
        SystemExit when one does not run.
        """
        wanted, placed = self.wanted(release, first=first), self.placed()
        gone = sorted(placed.keys() - wanted.keys())
        for name in gone:
            if "[Install]" in placed[name]:
                subprocess.run(["systemctl", "disable", "--quiet", "--now", name], check=True)
            (self.units / name).unlink()
        changed = [name for name, text in wanted.items() if _put(self.units / name, text)]
        if gone or wanted:  # also when a run was killed before it came to this
            subprocess.run(["systemctl", "daemon-reload"], check=True)
        units = [self._unit(name, release) for name, text in wanted.items() if release and "[Install]" in text]
        started = [unit for unit in units if anew or unit.name in changed or unit.trouble()]
        for unit in started:
            forgive(unit.name)
            unit.start()
        for unit in started:
            unit.wait(limit)
        return [*gone, *changed, *(unit.name for unit in started if unit.name not in changed)]

    def _unit(self, name: str, release: Path) -> Unit:
        return Timer(name, release) if name.endswith(".timer") else Celery(name, release)


def _directory(path: Path, owner: str, mode: int = 0o755) -> None:
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(mode)
    shutil.chown(path, owner, owner)


def _text(file: Path) -> str:
    return file.read_text() if file.exists() else ""


def _put(file: Path, text: str) -> bool:
    """Let a file have a text, at once; whether it had another one."""
    if _text(file) == text:
        return False
    draft = file.with_name(f".{file.name}.new")
    draft.write_text(text)
    draft.replace(file)
    return True


def _is_active(unit: str) -> bool:
    return subprocess.run(["systemctl", "--quiet", "is-active", unit], check=False).returncode == 0


def forgive(unit: str) -> None:
    """Forget how often a unit has ended by itself: another release starts with a clean slate."""
    subprocess.run(["systemctl", "reset-failed", unit], check=False, capture_output=True)


def _home() -> Path:
    """The only home of an application on this host. Raises SystemExit when there is none, or several."""
    homes = [path.parent for path in Path("/srv").glob("*/releases")]
    if len(homes) != 1:
        sys.exit(f"Say --home: {'; '.join(map(str, homes)) or 'no directory of /srv'} has releases.")
    return homes[0]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="hugproof-release", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--home", type=Path, help="the application's directory; the only one below /srv by default")
    commands = parser.add_subparsers(dest="command", required=True)

    def add(name: str, text: str, *arguments: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        for argument in arguments:
            command.add_argument(argument)
        return command

    add("list", "Show the releases on this host, the one that ran last first.")
    add("lock", "Keep other runs from releasing.", "run").add_argument("--instead-of", default="")
    add("unlock", "Remove what was not built to the end, and let other runs release again.", "run")
    add("add", "Lay out a release, from a description in JSON; say whether its environment is installed.", "release")
    add("switch", "Make a release the current one; the service goes on as it is.", "release", "by")
    add("find", "Print the full name of a release, by its beginning or 'previous'; whether a switch is undone.",
        "release")  # fmt: skip
    add("back", "Make the release current again that this host switched from, and print its unit.", "by")
    work = add("work", "Let background work be that of a release, of 'current' or of 'none'.", "seconds", "release")
    work.add_argument("--first", action="store_true", help="also what is for one host of all")
    work.add_argument("--anew", action="store_true", help="start again what runs as it should")
    add("start", "Start the service anew, and wait until every worker runs the current release.", "seconds")
    add("ready", "Wait until every worker runs the current release.", "seconds")
    add("finish", "Wait like that, end the switch, and remove releases beyond the number to keep.",
        "seconds", "keep", "run")  # fmt: skip
    return parser


def main() -> None:
    """Run a command."""
    arguments = _parser().parse_args()
    lock = Lock(Path("/run/hugproof-release.lock"))
    if arguments.command == "lock":
        holder = lock.take(arguments.run, arguments.instead_of)
        print(holder, f"since {utc(lock.path.stat().st_mtime)}", sep="\n")
        sys.exit(0 if holder == arguments.run else REFUSED)
    releases = Releases(arguments.home or _home())

    def service() -> Service:
        if current := releases.link("current"):
            return Service(releases.service(current), current)
        sys.exit("No release is the current one.")

    def start() -> None:
        service().start()
        service().wait(float(arguments.seconds))

    def switch() -> None:
        releases.switch(arguments.release, arguments.by)
        forgive(releases.service(releases.home / "releases" / arguments.release)["unit"])

    def work() -> None:
        known = {"none": None, "current": releases.link("current")}
        release = known[arguments.release] if arguments.release in known else releases.named(arguments.release)
        background, how = Background(releases.home), {"first": arguments.first, "anew": arguments.anew}
        print(*background.go_over(release, float(arguments.seconds), **how), sep="\n")

    def back() -> None:
        if unit := releases.back(arguments.by):
            forgive(unit)
            print(unit)

    def lay_out() -> None:
        if releases.add(arguments.release, json.load(sys.stdin)):
            print("installed")

    def find() -> None:
        print(releases.find(arguments.release))
        if arguments.release == "previous" and releases.link("switching"):
            print("interrupted")

    def finish() -> None:
        try:
            service().wait(float(arguments.seconds))
            print(*releases.finish(int(arguments.keep)), sep="\n")
        finally:
            lock.leave(arguments.run)

    def unlock() -> None:
        if lock.holder() == arguments.run:
            releases.drop_unfinished()
            lock.leave(arguments.run)

    calls: dict[str, Callable[[], object]] = {
        "unlock": unlock,
        "add": lay_out,
        "list": lambda: print(*releases.table(), sep="\n"),
        "switch": switch,
        "find": find,
        "back": back,
        "work": work,
        "start": start,
        "ready": lambda: service().wait(float(arguments.seconds)),
        "finish": finish,
    }
    calls[arguments.command]()


if __name__ == "__main__":
    main()

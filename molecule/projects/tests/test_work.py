"""Background work of a project with Celery and a command to run from time to time, on two web hosts."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from loadtest.plays import Run, run
from test_projects import STARTERS, write_inventory
from testinfra.host import Host

from support.cluster import APPLICATION, manage
from support.wait import eventually

DEPLOY = "playbooks/deploy.yml"
WORKER, BEAT = f"{APPLICATION}-worker", f"{APPLICATION}-beat"
PAIR = ("plain1", "plain2")
SAID = 'to "us", 100% of $HOME'
WORK: dict[str, object] = {
    "app_celery_app": "mysite",
    "app_celery_beat": True,
    "app_celery_arguments": ["--concurrency=1"],
    "app_periodic": {"tell": {"command": ["tell", "periodic", SAID], "on_calendar": "*:*:0/10"}},
}
REQUIREMENTS = ["Django~=5.2.0", "celery[redis]~=5.6"]
CELERY = """
import os
from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
app = Celery("mysite")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
"""
TASKS = """
import socket
from celery import shared_task
from django.conf import settings
from redis import Redis
from mysite.release import NAME

redis = Redis.from_url(settings.CELERY_BROKER_URL, socket_timeout=None)

@shared_task
def tell(what, said=""):
    redis.rpush(what, " ".join([NAME, socket.gethostname(), said]).strip())

@shared_task
def tell_later(what):
    tell(f"{what} began")
    assert redis.blpop(f"go {what}", timeout=300)
    tell(what)
"""
COMMAND = """
from django.core.management.base import BaseCommand
from mysite.tasks import tell

class Command(BaseCommand):
    def add_arguments(self, parser):
        parser.add_argument("words", nargs="+")

    def handle(self, *, words, **options):
        tell(*words)
"""
SETTINGS = """
import os
INSTALLED_APPS += ["mysite"]
CELERY_BROKER_URL = os.environ["BROKER_URL"]
CELERY_BEAT_SCHEDULE = {"tick": {"task": "mysite.tasks.tell", "schedule": 1.0, "args": ["tick"]}}
"""
DIES_UNDER_UWSGI = """
try:
    import uwsgi
except ImportError:
    pass
else:
    raise RuntimeError("not under uWSGI")
"""
CONFINED = (
    "User,NoNewPrivileges,CapabilityBoundingSet,LockPersonality,PrivateDevices,PrivateTmp,ProtectClock,"
    "ProtectControlGroups,ProtectHome,ProtectHostname,ProtectKernelLogs,ProtectKernelModules,ProtectKernelTunables,"
    "ProtectProc,ProtectSystem,ReadWritePaths,RestrictAddressFamilies,RestrictNamespaces,RestrictRealtime,"
    "RestrictSUIDSGID,SystemCallArchitectures,SystemCallFilter,UMask"
)


@dataclass(frozen=True)
class Works:
    """The site, its two web hosts, and Redis on the first of them."""

    inventory: Path
    starter: Path
    web: list[Host]

    def release(self, name: str, **appended: str) -> dict[str, object]:
        """Make a release of the project, with more in some modules of mysite; return the variable that names it."""
        source = self.starter.with_name(name)
        shutil.copytree(self.starter, source)
        package = source / "mysite"
        (package / "management" / "commands").mkdir(parents=True)
        (package / "management" / "commands" / "tell.py").write_text(COMMAND)
        modules = {"__init__": "from mysite.celery import app as celery_app\n", "celery": CELERY, "tasks": TASKS,
                   "release": f"NAME = {name!r}\n", "settings": SETTINGS}  # fmt: skip
        for module in modules.keys() | appended.keys():
            with (package / f"{module}.py").open("a") as file:
                file.write(modules.get(module, "") + appended.get(module, ""))
        return {"app_source": str(source)}

    def deploy(self, name: str, appended: dict[str, str] | None = None, **variables: object) -> Run:
        """Bring a release of the project to the hosts."""
        return run(DEPLOY, self.inventory, **WORK | self.release(name, **appended or {}) | variables)

    def told(self, what: str) -> list[str]:
        """What was told of something: the release, the host, and what was said."""
        return self.web[0].check_output("redis-cli --raw lrange %s 0 -1", what).splitlines()

    def does(self, what: str) -> str:
        """Have a task done, and return the release that did it."""
        self.ask("tell", what)
        return eventually(lambda: self.told(what))[0].split()[0]

    def ask(self, task: str, what: str) -> None:
        """Send a task."""
        manage(self.web[0], "shell", "-v0", "-c", f"from mysite.tasks import *; {task}.delay({what!r})")

    def processes(self) -> list[str]:
        """Process ids of the hosts' workers, which have to run."""
        found = [host.check_output(f"systemctl show --property=MainPID --value {WORKER}") for host in self.web]
        assert "0" not in found
        return found

    def units(self) -> list[list[str]]:
        """What of the background work is active on each host, but for a command that runs for a moment."""
        asked = f"systemctl list-units --plain --no-legend --state=active '{APPLICATION}-*'"
        return [sorted(line.split()[0] for line in host.check_output(asked).splitlines()) for host in self.web]


FIRST = [f"{APPLICATION}-beat.service", f"{APPLICATION}-periodic-tell.timer", f"{APPLICATION}-worker.service"]
OTHER = FIRST[-1:]


def serve_redis(host: Host) -> None:
    """Install a broker."""
    host.check_output("apt-get install -qq --yes --no-install-recommends redis-server")
    host.check_output("printf 'bind *\nprotected-mode no\n' >> /etc/redis/redis.conf; systemctl restart redis-server")


def web_hosts(inventory: Path, *hosts: dict[str, dict[str, str]]) -> None:
    """Let these be the inventory's web hosts, in this order."""
    file = inventory / "hosts.yml"
    text = yaml.safe_load(file.read_text())
    text["all"]["children"]["web"]["hosts"] = {name: values for host in hosts for name, values in host.items()}
    file.write_text(yaml.safe_dump(text, sort_keys=False))


@pytest.fixture(scope="module")
def works(hosts: dict[str, Host], tmp_path_factory: pytest.TempPathFactory) -> Works:
    """A site on two web hosts, with background work."""
    directory = tmp_path_factory.mktemp("work")
    addresses = [hosts[name].backend.ansible_runner.get_variables(name)["ansible_host"] for name in PAIR]
    starter = STARTERS["plain"]
    inventory = write_inventory(directory, starter, addresses[0], starter.make(directory))
    text = yaml.safe_load((inventory / "hosts.yml").read_text())
    text["all"]["vars"] |= {
        "app_requirements": REQUIREMENTS,
        "app_secret_environment": {"BROKER_URL": f"redis://{addresses[0]}:6379/0"},
        "base_firewall_rules": [f"ip saddr {addresses[1]} tcp dport 6379 accept"],
    }
    (inventory / "hosts.yml").write_text(yaml.safe_dump(text))
    web_hosts(inventory, *({name: {"ansible_host": address}} for name, address in zip(PAIR, addresses, strict=True)))
    found = Works(inventory, directory / starter.name, [hosts[name] for name in PAIR])
    serve_redis(found.web[0])
    run("site.yml", inventory, **WORK | found.release("one")).succeeded()
    return found


def test_a_task_is_done_by_the_release_that_serves(works: Works) -> None:
    assert works.does("first") == "one"


def test_workers_are_on_all_web_hosts_and_the_rest_on_the_first(works: Works) -> None:
    assert works.units() == [FIRST, OTHER]
    assert not works.web[1].file(f"/etc/systemd/system/{BEAT}.service").exists
    enabled = [works.web[0].run(f"systemctl is-enabled {unit}").stdout.strip() for unit in FIRST]
    assert enabled == ["enabled"] * len(FIRST)


@pytest.mark.parametrize("unit", [WORKER, BEAT, f"{APPLICATION}-periodic-tell"])
def test_it_is_confined_as_the_application_is(works: Works, unit: str) -> None:
    asked = f"systemctl show --property={CONFINED} %s"
    assert works.web[0].check_output(asked, unit) == works.web[0].check_output(asked, APPLICATION)


def test_the_schedule_is_run(works: Works) -> None:
    seen = len(works.told("tick"))
    eventually(lambda: len(works.told("tick")) > seen + 1)


def test_a_command_is_run_from_time_to_time_with_its_words_as_they_were_written(works: Works) -> None:
    seen = len(works.told("periodic"))
    eventually(lambda: len(works.told("periodic")) > seen + 1)
    assert set(works.told("periodic")) == {f"one plain1 {SAID}"}


def test_a_task_under_way_is_finished_and_the_next_release_does_the_rest(works: Works) -> None:
    works.ask("tell_later", "slow")
    release, name = eventually(lambda: works.told("slow began"))[0].split()
    worker = works.web[PAIR.index(name)]
    with ThreadPoolExecutor() as pool:
        deployed = pool.submit(works.deploy, "two")
        try:
            eventually(lambda: worker.run(f"systemctl is-active {WORKER}").stdout.strip() == "deactivating", limit=240)
            assert not deployed.done()
        finally:
            works.web[0].check_output("redis-cli rpush 'go slow' now")
        deployed.result().succeeded()
    assert release == "one"
    assert works.told("slow") == [f"one {name}"]
    assert works.does("second") == "two"
    assert works.units() == [FIRST, OTHER]
    eventually(lambda: works.told("periodic")[-1].split()[0] == "two")


@pytest.mark.parametrize(
    ("name", "appended", "variables", "told"),
    [
        ("broken", {"tasks": "import no_such_module"}, {},
         "app_celery_app is 'mysite', which can't be imported: ModuleNotFoundError: No module named 'no_such_module'"),
        ("none", {}, {"app_requirements": REQUIREMENTS[:1]},
         "app_celery_app is 'mysite', and what the application requires (['Django~=5.2.0']) brings no celery"),
        ("timeless", {}, {"app_periodic": {"tell": {"command": "tell x", "on_calendar": "dayly"}}},
         "app_periodic: on_calendar of 'tell' is 'dayly', which systemd on plain1 can't read"),
        ("unserved", {"wsgi": DIES_UNDER_UWSGI}, {}, "not under uWSGI"),
    ],
    ids=["tasks that can not be imported", "no Celery", "no such time", "no web host gets ready"],
)  # fmt: skip
def test_a_release_that_fails_leaves_the_work_to_the_one_before(
    works: Works, name: str, appended: dict[str, str], variables: dict[str, object], told: str
) -> None:
    before = works.processes()
    assert told in works.deploy(name, appended, **variables).failed().words
    switched = name == "unserved"
    assert (works.processes() == before) is not switched
    assert works.does(f"after {name}") == "two"
    assert works.units() == [FIRST, OTHER]


def test_a_restart_is_one_of_the_workers_too(works: Works) -> None:
    before = works.processes()
    run("playbooks/restart.yml", works.inventory).succeeded()
    assert set(before).isdisjoint(works.processes())
    assert works.does("third") == "two"


def test_what_the_first_web_host_does_moves_with_the_inventory_and_a_rollback_takes_it_back(works: Works) -> None:
    text = yaml.safe_load((works.inventory / "hosts.yml").read_text())
    members = text["all"]["children"]["web"]["hosts"]
    web_hosts(works.inventory, *({name: members[name]} for name in reversed(PAIR)))
    run("playbooks/rollback.yml", works.inventory, **WORK).succeeded()
    assert works.units() == [OTHER, FIRST]
    assert works.does("fourth") == "one"
    eventually(lambda: works.told("periodic")[-1].split()[:2] == ["one", "plain2"])


def test_the_same_run_again_changes_nothing_and_one_without_it_takes_it_away(works: Works) -> None:
    source = {"app_source": str(works.starter.with_name("one"))}
    assert set(run(DEPLOY, works.inventory, **WORK | source).succeeded().changed.values()) == {0}
    run(DEPLOY, works.inventory, **source).succeeded()
    assert works.units() == [[], []]
    for host in works.web:
        assert host.run(f"ls /etc/systemd/system | grep {APPLICATION}-").stdout == ""

"""What a user can get wrong is told before any load starts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from loadtest.target import PROJECT


def ladder(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "loadtest", "ladder", *arguments]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, stdin=subprocess.DEVNULL)


def test_an_inventory_that_is_not_there() -> None:
    done = ladder("-i", "inventories/nowhere")
    assert done.returncode == 1
    assert "There is no inventory inventories/nowhere." in done.stderr


def test_an_inventory_without_web_hosts(tmp_path: Path) -> None:
    file = tmp_path / "hosts.yml"
    file.write_text("all: {children: {db: {hosts: {a: {}}}, cache: {hosts: {a: {}}}, web: {}, edge: {hosts: {a: {}}}}}")
    done = ladder("-i", str(file))
    assert done.returncode == 1
    assert "the group web has no host" in done.stderr


def test_a_plan_that_is_not_there() -> None:
    done = ladder("--plan", "nowhere.py")
    assert done.returncode == 1
    assert "There is no plan nowhere.py" in done.stderr


@pytest.mark.parametrize("option", ["--repeats", "--seconds", "--profiles"])
def test_a_number_that_is_none(option: str) -> None:
    done = ladder(option, "many")
    assert done.returncode == 2
    assert "'many' is not a number from 1" in done.stderr


def test_load_goes_to_hosts_of_the_inventory_alone(tmp_path: Path) -> None:
    """Even if a plan of the user's names another address."""
    plan = tmp_path / "plan.py"
    plan.write_text(
        "from locust import task\n"
        "from locust.contrib.fasthttp import FastHttpUser\n"
        "class Stray(FastHttpUser):\n"
        "    @task\n"
        "    def go(self):\n"
        "        self.client.get('http://192.0.2.1/')\n"
    )
    result = tmp_path / "result.json"
    environment = os.environ | {
        "PYTHONPATH": str(PROJECT),
        "GEVENT_RESOLVER": "loadtest.resolver.Resolver",
        "LOADTEST_ADDRESSES": "people.test=127.0.0.1",
        "LOADTEST_RESULT": str(result),
    }
    command = [
        "locust",
        "--headless",
        "-f",
        f"{plan},{PROJECT}/loadtest/recorder.py",
        "-u",
        "1",
        "-t",
        "2s",
        "-H",
        "http://people.test",
    ]
    subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, stdin=subprocess.DEVNULL)
    assert "192.0.2.1 is not in the inventory: no load is sent there" in result.read_text()

"""A project in a private repository, which one key may read: over ssh, on another host."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from loadtest.plays import run, run_until
from test_projects import STARTERS, write_inventory
from testinfra.host import Host

from support.cluster import APPLICATION, PROJECT

DEPLOY = "playbooks/deploy.yml"
# The first word to a host: by then the project has been fetched and looked at.
LOOKED_AT = "TASK [preflight : Hosts are reached and tell what they are]"
HOST = "plain2"


@dataclass(frozen=True)
class Repository:
    """A project's repository, an inventory that has it as its source, and its deploy key."""

    url: str
    inventory: Path
    key: str
    other_key: str

    @property
    def checkout(self) -> Path:
        """Where it is on the machine that runs Ansible."""
        digest = hashlib.sha256(self.url.encode()).hexdigest()[:12]
        return PROJECT / ".cache" / "repositories" / f"{APPLICATION}-{digest}"


@pytest.fixture
def repository(hosts: dict[str, Host], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    """Hosts are known to git by a file of the test's own, as by a user's known_hosts."""
    host = hosts[HOST]
    address = host.backend.ansible_runner.get_variables(HOST)["ansible_host"]
    url = f"ssh://debian@{address}/srv/mysite.git"
    key, known, source = tmp_path / "deploy", tmp_path / "known_hosts", STARTERS["plain"].make(tmp_path)
    known.write_text(subprocess.run(["ssh-keyscan", address], check=True, capture_output=True, text=True).stdout)
    for file in (key, tmp_path / "other"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", file], check=True)
    host.check_output("apt-get install -qq --yes --no-install-recommends git")
    host.check_output("install -d -o debian /srv/mysite.git")
    host.check_output("sudo -u debian git init --quiet --bare --initial-branch=main /srv/mysite.git")
    way = f"core.sshCommand=ssh -F {PROJECT}/.lab/ssh_config"
    git = ["git", "-C", str(source), "-c", "user.name=Ida", "-c", "user.email=ida@example.org", "-c", way]
    for command in (
        ["init", "--quiet", "--initial-branch=main"],
        ["add", "."],
        ["commit", "--quiet", "--message=First"],
        ["push", "--quiet", url, "main"],
    ):
        subprocess.run([*git, *command], check=True)
    host.check_output("echo %s >>~debian/.ssh/authorized_keys", key.with_suffix(".pub").read_text().strip())
    monkeypatch.setenv("GIT_SSH_OPTS", f"-F none -o UserKnownHostsFile={known}")
    inventory = write_inventory(tmp_path, STARTERS["plain"], "192.0.2.1", tmp_path)
    repository = Repository(url, inventory, key.read_text(), (tmp_path / "other").read_text())
    yield repository
    shutil.rmtree(repository.checkout, ignore_errors=True)


def test_its_deploy_key_fetches_it_and_no_other_key_does(repository: Repository) -> None:
    refused = run(DEPLOY, repository.inventory, app_source=repository.url, app_deploy_key=repository.other_key).failed()
    assert "A private repository wants app_deploy_key" in refused.words
    assert not (repository.checkout / "manage.py").exists()
    seen = run_until(LOOKED_AT, DEPLOY, repository.inventory, app_source=repository.url, app_deploy_key=repository.key)
    assert (repository.checkout / "manage.py").is_file()
    assert "PRIVATE KEY" not in seen

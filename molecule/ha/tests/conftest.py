"""The cluster whose hosts are lost: what its members tell, and whether it is whole again."""

from __future__ import annotations

import pytest
from testinfra.host import Host

from support.cluster import Cluster
from support.database import Database


@pytest.fixture(scope="session")
def database(cluster: Cluster, hosts: dict[str, Host]) -> Database:
    return Database(cluster, hosts)

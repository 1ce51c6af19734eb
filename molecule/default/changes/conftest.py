"""Visitors who come while the cluster changes."""

from __future__ import annotations

import pytest

from support.cluster import Cluster
from support.traffic import Visitors, visitors


@pytest.fixture(scope="session")
def comers(cluster: Cluster, profiles: int) -> Visitors:
    """Visitors of the cluster, whatever its size."""
    return visitors(cluster.inventory)

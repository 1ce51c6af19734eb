"""A resolver for gevent that knows the targets of a load test, and no others.

LOADTEST_ADDRESSES has them, such as `people.test=10.43.2.41 10.43.2.31=10.43.2.31`: the load goes to hosts of the
inventory under the site's own name, whatever name servers say, and nowhere else. Chosen by
GEVENT_RESOLVER=loadtest.resolver.Resolver.
"""

from __future__ import annotations

import os
import socket
from typing import Any

from gevent.resolver.thread import Resolver as Ordinary

ADDRESSES = dict(pair.split("=", 1) for pair in os.environ.get("LOADTEST_ADDRESSES", "").split())


class Resolver(Ordinary):  # type: ignore[misc]
    """Resolves what stands in LOADTEST_ADDRESSES, and addresses of this machine itself."""

    def getaddrinfo(self, host: str | bytes | None, *args: Any, **kwargs: Any) -> Any:
        """As socket.getaddrinfo; raises socket.gaierror for a host that the load is not for."""
        name = host.decode() if isinstance(host, bytes) else host
        if name is not None and name not in ADDRESSES and name not in ("127.0.0.1", "::1", "localhost", "0.0.0.0"):  # noqa: S104
            raise socket.gaierror(socket.EAI_NONAME, f"{name} is not in the inventory: no load is sent there")
        return super().getaddrinfo(ADDRESSES.get(name or "", name), *args, **kwargs)

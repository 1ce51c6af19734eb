"""A memcached back end that keeps its connections."""

from typing import Any

from django.core.cache.backends.memcached import PyMemcacheCache


class PersistentPyMemcacheCache(PyMemcacheCache):
    """PyMemcacheCache without a new TCP connection per server and request.

    Django's own closes them all when a request ends; its PyLibMCCache does not, for the reason
    given there: closing resets the fail-over state and creates unnecessary reconnects.
    """

    def close(self, **kwargs: Any) -> None:
        pass

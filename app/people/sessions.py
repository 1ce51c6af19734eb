"""Sessions in the database; a copy in memcached is read only if it is of the last save that the visitor knows of."""

import logging
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.sessions import middleware
from django.contrib.sessions.backends import cached_db, db
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import get_random_string

# How long a copy serves at most, in seconds: so long it may outlive a session that was ended, when the order to delete
# it did not reach memcached, or another request of the same session was on its way.
COPY_SECONDS = 300
SAVE = "_save"

logger = logging.getLogger("django.contrib.sessions")


class SessionStore(cached_db.SessionStore):
    """cached_db that asks the database when the copy in memcached is not of the last save that the visitor knows of.

    Django's own writes to the database, then to memcached, and takes it as written. When memcached answers too late, is
    reached again after a cut, or hosts are added to it or lost, other processes go on with the copy of before: who has
    just logged in is a stranger. Here each save has a name, which is in the session and, by SessionMiddleware, in the
    cookie: `<session key>.<save>`. A copy with another name, or asked for without one, is not read.
    """

    def __init__(self, session_key: str | None = None) -> None:
        key, _, self.known_save = (session_key or "").partition(".")
        super().__init__(key or None)

    def load(self) -> dict[str, Any]:
        try:
            copy = self._cache.get(self.cache_key) or {}
        except Exception:  # as in cached_db: a cookie that is no key
            copy = {}
        if self.known_save and copy.get(SAVE) == self.known_save:
            return copy
        row = self._get_session_from_db()
        if row is None:
            return {}
        data = self.decode(row.session_data)
        self.keep_copy(data, self.get_expiry_age(expiry=row.expire_date))
        return data

    async def aload(self) -> dict[str, Any]:
        return await sync_to_async(self.load)()

    def save(self, must_create: bool = False) -> None:
        if self.session_key is None:
            self.create()
            return
        data = self._get_session(no_load=must_create)
        data[SAVE] = self.known_save = get_random_string(8)
        db.SessionStore.save(self, must_create)
        self.keep_copy(data, self.get_expiry_age())
        self.modified = True  # and the response has to say so

    async def asave(self, must_create: bool = False) -> None:
        await sync_to_async(self.save)(must_create)

    def keep_copy(self, data: dict[str, Any], seconds: int) -> None:
        try:
            self._cache.set(self.cache_key, data, min(seconds, COPY_SECONDS))
        except Exception:
            logger.exception("The cache took no copy of a session.")


class SessionMiddleware(middleware.SessionMiddleware):
    """Tells the visitor, along with the key, which save of the session was the last."""

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        response = super().process_response(request, response)
        cookie = response.cookies.get(settings.SESSION_COOKIE_NAME)
        if cookie and cookie.value == request.session.session_key:
            response.cookies[cookie.key] = f"{cookie.value}.{request.session.known_save}"
        return response

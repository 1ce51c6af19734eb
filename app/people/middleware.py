"""Tell caches in front of the site which pages they may share."""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse

GetResponse = Callable[[HttpRequest], HttpResponse]


class EdgeCacheMiddleware:
    """Set Cache-Control where the view did not.

    A visitor with a session (or HTTP credentials) gets pages of his own: `private, no-store`.
    Everybody else gets the same page: shared caches keep it for EDGE_CACHE_SECONDS, browsers ask
    again each time (max-age=0), which an ETag answers cheaply. A response that sets a cookie
    belongs to one visitor, so it is never marked. Anonymous pages carry no Vary: Cookie, hence a cache in
    front must let requests with a session cookie through.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response
        self.shared = f"s-maxage={settings.EDGE_CACHE_SECONDS}, max-age=0"

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if response.has_header("Cache-Control"):
            return response
        if is_personal(request) or response.cookies:
            response["Cache-Control"] = "private, no-store"
        elif request.method in {"GET", "HEAD"} and response.status_code == 200:
            response["Cache-Control"] = self.shared
        return response


def is_personal(request: HttpRequest) -> bool:
    """Whether the request says who is asking."""
    return settings.SESSION_COOKIE_NAME in request.COOKIES or "HTTP_AUTHORIZATION" in request.META

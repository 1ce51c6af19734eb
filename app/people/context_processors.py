"""What every template knows."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest


def viewer(request: HttpRequest) -> dict[str, Any]:
    """Give templates `viewer`: the logged-in user, or None.

    request.user is touched only for a request that carries a session: touching it adds Vary: Cookie.
    """
    if settings.SESSION_COOKIE_NAME not in request.COOKIES:
        return {"viewer": None}
    return {"viewer": request.user if request.user.is_authenticated else None}

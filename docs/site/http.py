"""The reference of a gateway's HTTP addresses, from the router that serves them and the docstrings of its handlers."""

from docs.site.tables import code, first_sentence, table
from server.http.app import Services, make_app
from server.http.guard import Guard
from server.metrics import Metrics
from server.transport.accept import Acceptor

_HEAD = """# HTTP

Made from `server/http/app.py`. Every answer has security headers; every error is JSON, `{"error": word, "text":
sentence}`, whose word is stable. A request whose `Host` is not one of the server's names gets 421.

"""


def routes() -> list[tuple[str, str, str]]:
    """Method, path, what it is for: of all that a gateway serves. Raises ValueError for a handler that does not say."""
    services = Services(ready=lambda: True, status=dict, metrics=Metrics())
    app = make_app(services, Guard())
    found = [("GET", "/ws", first_sentence(Acceptor.handle.__doc__))]
    for route in app.router.routes():
        resource = route.resource
        if route.method == "HEAD" or resource is None:
            continue
        try:
            found.append((route.method, resource.canonical, first_sentence(route.handler.__doc__)))
        except ValueError as problem:
            raise ValueError(f"{route.method} {resource.canonical}: {problem}") from None
    return found


def page() -> str:
    """The page."""
    return _HEAD + table(("method", "path", "answer"), [(m, code(p), text) for m, p, text in routes()])

"""HTTP in: every blueprint, and who may call it.

A route parses, calls one operation or query, and shapes the answer.
"""

from __future__ import annotations

from apiflask import APIFlask

from app.routes import callbacks, health, metrics
from app.routes.citizen import BLUEPRINTS as CITIZEN
from app.routes.docs import serve_docs
from app.routes.errors import register_errors
from app.routes.guards import install_guards
from app.routes.json import install_strict_json
from app.routes.requests import install_request_hooks
from app.routes.staff import BLUEPRINTS as STAFF


def register_routes(app: APIFlask) -> None:
    """Open every door of the application."""
    # OPTIONS is refused like any other method: no browser of another origin has business here.
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    # `//host/path` must not be answered with a redirect that the request's Host header decides.
    app.url_map.merge_slashes = False
    install_strict_json(app)
    install_request_hooks(app)
    install_guards(app)
    register_errors(app)
    serve_docs(app)
    for blueprint in (callbacks.blueprint, health.blueprint, metrics.blueprint, *CITIZEN, *STAFF):
        app.register_blueprint(blueprint)

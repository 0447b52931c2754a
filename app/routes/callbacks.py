"""Callbacks from channels: `POST /callbacks/<channel>/<endpoint>`.

No token guards them: the channel's signature over the raw bytes does.
"""

from __future__ import annotations

from apiflask import APIBlueprint
from flask import Response, abort, request

from app.domain.callbacks.operations import receive_callback
from app.domain.ports.callbacks import RawCallback
from app.routes.guards import ports
from app.routes.requests import read_body

blueprint = APIBlueprint("callbacks", __name__, url_prefix="/callbacks", enable_openapi=False)


@blueprint.post("/<channel>/<endpoint>")
def receive(channel: str, endpoint: str) -> Response:
    """Hand the raw bytes to the channel's adapter and answer in its words."""
    if channel not in ports().channels.calling_back:
        abort(404)
    reply = receive_callback(
        ports(),
        channel=channel,
        raw=RawCallback(
            endpoint=endpoint,
            content_type=request.content_type or "",
            headers=dict(request.headers),
            body=read_body(),
        ),
    )
    return Response(reply.body, status=reply.status, content_type=reply.content_type)

"""What a person was told: the list of their own messages."""

from __future__ import annotations

from apiflask import APIBlueprint
from pydantic import Field

from app.domain.contributors.models import Platform
from app.domain.outbox.queries import list_messages
from app.domain.ports.messages import MessageTopic
from app.routes.citizen.schemas import Instant, Page
from app.routes.guards import account_id, citizen_auth, ports
from app.routes.json import Out

blueprint = APIBlueprint("messages", __name__, url_prefix="/api/v1/messages", tag="消息")

MESSAGE = {
    "topic": "mandate_active",
    "title": "扣款签约生效",
    "text": "银行卡（尾号0128）扣款签约已生效，每笔最多扣划500.00元，有效期至2031年10月31日。",
    "created_at": "2026-11-24T10:01:00+08:00",
    "platform": "wechat",
    "sent_at": "2026-11-24T10:01:12+08:00",
}


class MessageOut(Out):
    """One message."""

    topic: MessageTopic
    title: str
    text: str
    created_at: Instant
    platform: Platform | None = Field(description="发往哪个平台；尚未发出或未能发出时为空")
    sent_at: Instant | None = Field(description="发出时间；尚未发出或未能发出时为空")


class MessagesOut(Out):
    """A page of messages, newest first."""

    items: list[MessageOut]
    next_cursor: int | None


@blueprint.get("")
@blueprint.auth_required(citizen_auth)
@blueprint.input(Page, location="query")
@blueprint.output(MessagesOut, example={"items": [MESSAGE], "next_cursor": None})
@blueprint.doc(
    operation_id="list_messages",
    summary="我的消息",
    description="中心告知本人的全部消息，无论是否已送达手机。保留四百天。",
    responses=[409],
)
def index(query_data: Page) -> MessagesOut:
    """List one's own messages."""
    own = account_id()
    found = ports().read(
        lambda session: list_messages(
            session, account_id=own, before_id=query_data.cursor, limit=query_data.limit + 1
        )
    )
    page = found[: query_data.limit]
    return MessagesOut(
        items=[
            MessageOut(
                topic=view.topic,
                title=view.title,
                text=view.text,
                created_at=view.created_at,
                platform=view.platform,
                sent_at=view.sent_at,
            )
            for view in page
        ],
        next_cursor=page[-1].id if len(found) > query_data.limit else None,
    )

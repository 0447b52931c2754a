"""The Idempotency-Key header: the same key of the same person creates the same thing once."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class IdempotencyHeaders(BaseModel):
    """What a request that creates something must carry; other headers are not its business."""

    model_config = ConfigDict(frozen=True)

    key: str = Field(
        alias="Idempotency-Key",
        pattern=r"^[0-9A-Za-z_-]{8,64}$",
        description="客户端生成的唯一标识，8 至 64 位字母、数字、- 或 _；重复提交时使用同一个值",
        examples=["6f1c0f0e5b0a4c0c9f5e"],
    )

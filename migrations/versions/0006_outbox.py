"""Messages to people, stored with the event that they tell of.

Revision: 0006, after 0005.
"""

import sqlalchemy as sa
from alembic import op

from app.domain.base import BigId, Instant

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade():
    op.create_table(
        "outbox_message",
        sa.Column("id", BigId, nullable=False),
        sa.Column("account_id", BigId, nullable=False),
        sa.Column("event_key", sa.String(length=100), nullable=False),
        sa.Column(
            "topic",
            sa.Enum(
                "debit_due",
                "debit_succeeded",
                "debit_failed",
                "debit_missed",
                "agreement_suspended",
                "mandate_active",
                "mandate_ended",
                "mandate_suspended",
                name="messagetopic",
                native_enum=False,
                length=24,
            ),
            nullable=False,
        ),
        sa.Column("fields", sa.JSON(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "waiting",
                "sent",
                "given_up",
                name="messagestate",
                native_enum=False,
                length=24,
            ),
            nullable=False,
        ),
        sa.Column("attempts", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("next_attempt_at", Instant(), nullable=True),
        sa.Column("refused_by", sa.JSON(), nullable=False),
        sa.Column(
            "platform",
            sa.Enum("wechat", "alipay", name="platform", native_enum=False, length=10),
            nullable=True,
        ),
        sa.Column(
            "reason",
            sa.Enum(
                "ok",
                "person_refused",
                "person_unknown",
                "not_offered",
                "our_fault",
                "busy",
                "no_answer",
                "bad_answer",
                "unlisted",
                "resting",
                name="messagereason",
                native_enum=False,
                length=24,
            ),
            nullable=True,
        ),
        sa.Column("raw_code", sa.String(length=64), nullable=True),
        sa.Column("sent_at", Instant(), nullable=True),
        sa.CheckConstraint(
            "(state = 'sent') = (sent_at IS NOT NULL)",
            name=op.f("ck_outbox_message_sent_when_it_says"),
        ),
        sa.CheckConstraint(
            "(state = 'waiting') = (next_attempt_at IS NOT NULL)",
            name=op.f("ck_outbox_message_tried_while_waiting"),
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_outbox_message_account_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox_message")),
        sa.UniqueConstraint("event_key", name=op.f("uq_outbox_message_event_key")),
    )
    with op.batch_alter_table("outbox_message", schema=None) as batch_op:
        batch_op.create_index("ix_outbox_message_account_id_id", ["account_id", "id"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_outbox_message_next_attempt_at"), ["next_attempt_at"], unique=False
        )
        batch_op.create_index(
            "ix_outbox_message_state_created_at", ["state", "created_at"], unique=False
        )


def downgrade():
    op.drop_table("outbox_message")

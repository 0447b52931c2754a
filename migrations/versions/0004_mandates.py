"""Mandates, and every change of their state.

Revision: 0004, after 0003.
"""

import sqlalchemy as sa
from alembic import op

from app.domain.base import BigId, Instant
from migrations.triggers import refuse_changes

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade():
    op.create_table(
        "mandate",
        sa.Column("id", BigId, nullable=False),
        sa.Column("mandate_no", sa.String(length=32), nullable=False),
        sa.Column("account_id", BigId, nullable=False),
        sa.Column("channel", sa.String(length=16), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "sending",
                "awaiting",
                "unknown",
                "active",
                "suspended",
                "ending",
                "ended",
                "failed",
                name="mandatestate",
                native_enum=False,
                length=24,
            ),
            nullable=False,
        ),
        sa.Column(
            "slot",
            sa.Enum("signing", "active", name="slot", native_enum=False, length=24),
            nullable=True,
        ),
        sa.Column("cap_fen", sa.BigInteger(), nullable=False),
        sa.Column("period_cap_fen", sa.BigInteger(), nullable=False),
        sa.Column(
            "cycle",
            sa.Enum("month", "quarter", name="cycle", native_enum=False, length=24),
            nullable=False,
        ),
        sa.Column("first_due_on", sa.Date(), nullable=False),
        sa.Column("valid_from", sa.Date(), nullable=False),
        sa.Column("valid_to", sa.Date(), nullable=False),
        sa.Column("payer", sa.LargeBinary(length=2048), nullable=False),
        sa.Column("key_id", sa.String(length=16), nullable=False),
        sa.Column("card_tail", sa.String(length=4), nullable=True),
        sa.Column("reference", sa.String(length=64), nullable=True),
        sa.Column("start_reference", sa.String(length=64), nullable=True),
        sa.Column("confirm_count", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("request_key", sa.String(length=64), nullable=False),
        sa.Column("request_digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("expires_at", Instant(), nullable=False),
        sa.Column("changed_at", Instant(), nullable=False),
        sa.Column("activated_at", Instant(), nullable=True),
        sa.Column("ended_at", Instant(), nullable=True),
        sa.Column(
            "ended_by",
            sa.Enum(
                "contributor",
                "channel",
                "centre",
                "expiry",
                name="endedby",
                native_enum=False,
                length=24,
            ),
            nullable=True,
        ),
        sa.Column(
            "end_reason",
            sa.Enum(
                "asked",
                "replaced",
                "ended_at_channel",
                "expired",
                "other_signer",
                name="endreason",
                native_enum=False,
                length=24,
            ),
            nullable=True,
        ),
        sa.Column(
            "reason",
            sa.Enum(
                "ok",
                "not_paid",
                "processing",
                "closed",
                "not_found",
                "already_paid",
                "already_refunded",
                "merchant_funds_short",
                "payer_refused",
                "insufficient_funds",
                "amount_limit",
                "period_limit",
                "issuer_refused",
                "account_frozen",
                "account_invalid",
                "no_mandate",
                "identity_mismatch",
                "not_supported",
                "wrong_code",
                "too_many_tries",
                "not_received",
                "our_fault",
                "busy",
                "no_answer",
                "bad_answer",
                "unlisted",
                name="reason",
                native_enum=False,
                length=24,
            ),
            nullable=True,
        ),
        sa.Column("raw_code", sa.String(length=64), nullable=True),
        sa.Column("move_count", sa.SmallInteger(), nullable=False),
        sa.Column("next_query_at", Instant(), nullable=True),
        sa.Column("query_count", sa.SmallInteger(), server_default="0", nullable=False),
        sa.CheckConstraint(
            "(slot IS NULL AND state IN ('ending', 'ended', 'failed')) OR (slot IS NOT NULL AND slot = 'signing' AND state IN ('sending', 'awaiting', 'unknown')) OR (slot IS NOT NULL AND slot = 'active' AND state IN ('active', 'suspended') AND reference IS NOT NULL AND activated_at IS NOT NULL)",
            name=op.f("ck_mandate_slot_of_its_state"),
        ),
        sa.CheckConstraint(
            "(state = 'ended') = (ended_at IS NOT NULL)", name=op.f("ck_mandate_ended_when_it_says")
        ),
        sa.CheckConstraint(
            "state NOT IN ('ending', 'ended') OR (ended_by IS NOT NULL AND end_reason IS NOT NULL)",
            name=op.f("ck_mandate_end_has_a_reason"),
        ),
        sa.CheckConstraint(
            "cap_fen > 0 AND period_cap_fen >= cap_fen", name=op.f("ck_mandate_caps_positive")
        ),
        sa.CheckConstraint("valid_from <= valid_to", name=op.f("ck_mandate_valid_for_a_while")),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_mandate_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mandate")),
        sa.UniqueConstraint(
            "account_id", "channel", "slot", name=op.f("uq_mandate_account_id_channel_slot")
        ),
        sa.UniqueConstraint(
            "account_id", "request_key", name=op.f("uq_mandate_account_id_request_key")
        ),
        sa.UniqueConstraint("channel", "reference", name=op.f("uq_mandate_channel_reference")),
        sa.UniqueConstraint("mandate_no", name=op.f("uq_mandate_mandate_no")),
    )
    with op.batch_alter_table("mandate", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_mandate_key_id"), ["key_id"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_mandate_next_query_at"), ["next_query_at"], unique=False
        )
        batch_op.create_index("ix_mandate_state_changed_at", ["state", "changed_at"], unique=False)

    op.create_table(
        "mandate_state_change",
        sa.Column("id", BigId, nullable=False),
        sa.Column("mandate_id", BigId, nullable=False),
        sa.Column("number", sa.SmallInteger(), nullable=False),
        sa.Column(
            "from_state",
            sa.Enum(
                "sending",
                "awaiting",
                "unknown",
                "active",
                "suspended",
                "ending",
                "ended",
                "failed",
                name="mandatestate",
                native_enum=False,
                length=24,
            ),
            nullable=True,
        ),
        sa.Column(
            "to_state",
            sa.Enum(
                "sending",
                "awaiting",
                "unknown",
                "active",
                "suspended",
                "ending",
                "ended",
                "failed",
                name="mandatestate",
                native_enum=False,
                length=24,
            ),
            nullable=False,
        ),
        sa.Column("actor", sa.String(length=40), nullable=False),
        sa.Column("reason", sa.String(length=200), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.ForeignKeyConstraint(
            ["mandate_id"], ["mandate.id"], name=op.f("fk_mandate_state_change_mandate_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mandate_state_change")),
        sa.UniqueConstraint(
            "mandate_id", "number", name=op.f("uq_mandate_state_change_mandate_id_number")
        ),
    )
    refuse_changes("mandate_state_change")


def downgrade():
    for table in ("mandate_state_change", "mandate"):
        op.drop_table(table)

"""Debit instructions, and the orders that try to fulfil them.

Revision: 0005, after 0004.
"""

import sqlalchemy as sa
from alembic import op

from app.domain.base import BigId, Instant

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

REASONS = (
    *("ok", "not_paid", "processing", "closed", "not_found", "already_paid", "already_refunded"),
    *("merchant_funds_short", "payer_refused", "insufficient_funds", "amount_limit"),
    *("period_limit", "issuer_refused", "account_frozen", "account_invalid", "no_mandate"),
    *("identity_mismatch", "not_supported", "wrong_code", "too_many_tries", "not_received"),
    *("our_fault", "busy", "no_answer", "bad_answer", "unlisted"),
)
DEBIT_IS_OWED = "mandate_id IS NULL OR instruction_id IS NOT NULL"
WHILE_OPEN = (
    "CASE WHEN state IN ('sending', 'awaiting_payment', 'unknown', 'closing')"
    " THEN instruction_id END"
)


def _enum(*values, name):
    return sa.Enum(*values, name=name, native_enum=False, length=24)


def upgrade():
    op.create_table(
        "debit_instruction",
        sa.Column("id", BigId, nullable=False),
        sa.Column("account_id", BigId, nullable=False),
        sa.Column("agreement_id", BigId, nullable=False),
        sa.Column("terms_version", sa.SmallInteger(), nullable=False),
        sa.Column("period", sa.String(length=7), nullable=False),
        sa.Column(
            "channel", _enum("wechat", "alipay", "bank", name="debitchannel"), nullable=False
        ),
        sa.Column("amount_fen", sa.BigInteger(), nullable=False),
        sa.Column("due_on", sa.Date(), nullable=False),
        sa.Column("retry_until", sa.Date(), nullable=False),
        sa.Column(
            "state",
            _enum(
                *("scheduled", "attempting", "succeeded", "skipped", "missed", "cancelled"),
                name="instructionstate",
            ),
            nullable=False,
        ),
        sa.Column("next_attempt_on", sa.Date(), nullable=True),
        sa.Column("attempt_count", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("first_attempt_on", sa.Date(), nullable=True),
        sa.Column("reason", _enum(*REASONS, name="reason"), nullable=True),
        sa.Column(
            "end_reason",
            _enum(
                *("paid_by_hand", "over_cap", "cap_not_published", "agreement_ended"),
                *("account_not_usable", "programme_not_in_force"),
                name="endreason",
            ),
            nullable=True,
        ),
        sa.Column("paid_order_no", sa.String(length=32), nullable=True),
        sa.Column("announced_from", sa.Date(), nullable=True),
        sa.Column("announced_until", sa.Date(), nullable=True),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("ended_at", Instant(), nullable=True),
        sa.CheckConstraint("amount_fen > 0", name=op.f("ck_debit_instruction_amount_positive")),
        sa.CheckConstraint(
            "(state = 'scheduled') = (next_attempt_on IS NOT NULL)",
            name=op.f("ck_debit_instruction_scheduled_for_a_day"),
        ),
        sa.CheckConstraint(
            "(state = 'succeeded') = (paid_order_no IS NOT NULL)",
            name=op.f("ck_debit_instruction_succeeded_by_an_order"),
        ),
        sa.CheckConstraint(
            "(state IN ('scheduled', 'attempting')) = (ended_at IS NULL)",
            name=op.f("ck_debit_instruction_ended_when_it_says"),
        ),
        sa.CheckConstraint(
            "(state IN ('skipped', 'cancelled')) = (end_reason IS NOT NULL)",
            name=op.f("ck_debit_instruction_end_has_a_reason"),
        ),
        sa.CheckConstraint(
            "(announced_from IS NULL) = (announced_until IS NULL)",
            name=op.f("ck_debit_instruction_announcement_is_whole"),
        ),
        sa.CheckConstraint(
            "state <> 'missed' OR reason IS NOT NULL",
            name=op.f("ck_debit_instruction_missed_for_a_reason"),
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_debit_instruction_account_id")
        ),
        sa.ForeignKeyConstraint(
            ["agreement_id"], ["agreement.id"], name=op.f("fk_debit_instruction_agreement_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_debit_instruction")),
        sa.UniqueConstraint(
            "account_id", "period", name=op.f("uq_debit_instruction_account_id_period")
        ),
        sa.UniqueConstraint("paid_order_no", name=op.f("uq_debit_instruction_paid_order_no")),
    )
    op.create_index("ix_debit_instruction_due", "debit_instruction", ["state", "next_attempt_on"])
    op.create_index(
        "ix_debit_instruction_agreement", "debit_instruction", ["agreement_id", "due_on"]
    )
    if op.get_bind().dialect.name == "sqlite":
        _widen_orders_in_place()
    else:
        _widen_orders()
    op.create_index("ix_payment_order_instruction_id", "payment_order", ["instruction_id"])
    op.create_index(
        "uq_payment_order_open_instruction_id",
        "payment_order",
        ["open_instruction_id"],
        unique=True,
    )


def _widen_orders():
    op.add_column("payment_order", sa.Column("reason", _enum(*REASONS, name="reason")))
    op.add_column("payment_order", sa.Column("instruction_id", BigId))
    op.add_column("payment_order", sa.Column("mandate_id", BigId))
    op.create_foreign_key(
        op.f("fk_payment_order_instruction_id"),
        "payment_order",
        "debit_instruction",
        ["instruction_id"],
        ["id"],
    )
    op.create_foreign_key(
        op.f("fk_payment_order_mandate_id"), "payment_order", "mandate", ["mandate_id"], ["id"]
    )
    op.create_check_constraint(
        op.f("ck_payment_order_debit_is_owed"), "payment_order", DEBIT_IS_OWED
    )
    op.add_column(
        "payment_order",
        sa.Column("open_instruction_id", sa.BigInteger(), sa.Computed(WHILE_OPEN, persisted=False)),
    )


def _widen_orders_in_place():
    """SQLite adds a column with its constraints; anything later would write the table anew."""
    for column in (
        "reason VARCHAR(24)",
        "instruction_id INTEGER CONSTRAINT fk_payment_order_instruction_id"
        " REFERENCES debit_instruction (id)",
        "mandate_id INTEGER CONSTRAINT fk_payment_order_mandate_id REFERENCES mandate (id)"
        f" CONSTRAINT ck_payment_order_debit_is_owed CHECK ({DEBIT_IS_OWED})",
        f"open_instruction_id BIGINT GENERATED ALWAYS AS ({WHILE_OPEN}) VIRTUAL",
    ):
        op.execute(f"ALTER TABLE payment_order ADD COLUMN {column}")


def downgrade():
    op.drop_index("uq_payment_order_open_instruction_id", "payment_order")
    if op.get_bind().dialect.name == "sqlite":
        op.drop_index("ix_payment_order_instruction_id", "payment_order")
        for column in ("open_instruction_id", "mandate_id", "instruction_id", "reason"):
            op.execute(f"ALTER TABLE payment_order DROP COLUMN {column}")
    else:
        op.drop_column("payment_order", "open_instruction_id")
        op.drop_constraint("ck_payment_order_debit_is_owed", "payment_order", type_="check")
        for name in ("instruction_id", "mandate_id"):
            op.drop_constraint(f"fk_payment_order_{name}", "payment_order", type_="foreignkey")
        op.drop_index("ix_payment_order_instruction_id", "payment_order")
        for column in ("mandate_id", "instruction_id", "reason"):
            op.drop_column("payment_order", column)
    op.drop_table("debit_instruction")

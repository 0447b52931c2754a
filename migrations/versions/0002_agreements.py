"""Agreements with their versioned terms, the consent to each, and every change of state.

Revision: 0002, after 0001.
"""

import sqlalchemy as sa
from alembic import op

from app.domain.base import BigId, Instant
from migrations.triggers import refuse_changes

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade():
    op.create_table(
        "agreement",
        sa.Column("id", BigId, nullable=False),
        sa.Column("agreement_no", sa.String(length=32), nullable=False),
        sa.Column("account_id", BigId, nullable=False),
        sa.Column("live_account_id", sa.BigInteger(), nullable=True),
        sa.Column(
            "state",
            sa.Enum(
                "draft",
                "active",
                "suspended",
                "ended",
                name="agreementstate",
                native_enum=False,
                length=24,
            ),
            nullable=False,
        ),
        sa.Column("version_count", sa.SmallInteger(), nullable=False),
        sa.Column("suspended_from", sa.Date(), nullable=True),
        sa.Column("suspended_through", sa.Date(), nullable=True),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("ended_at", Instant(), nullable=True),
        sa.CheckConstraint(
            "(state = 'ended' AND live_account_id IS NULL AND ended_at IS NOT NULL) OR (state <> 'ended' AND live_account_id IS NOT NULL AND live_account_id = account_id AND ended_at IS NULL)",
            name=op.f("ck_agreement_live_until_ended"),
        ),
        sa.CheckConstraint(
            "(suspended_from IS NULL) = (suspended_through IS NULL)",
            name=op.f("ck_agreement_suspension_is_whole"),
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_agreement_account_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_agreement")),
        sa.UniqueConstraint("agreement_no", name=op.f("uq_agreement_agreement_no")),
        sa.UniqueConstraint("live_account_id", name=op.f("uq_agreement_live_account_id")),
    )
    with op.batch_alter_table("agreement", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_agreement_account_id"), ["account_id"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_agreement_suspended_through"), ["suspended_through"], unique=False
        )

    op.create_table(
        "agreement_state_change",
        sa.Column("id", BigId, nullable=False),
        sa.Column("agreement_id", BigId, nullable=False),
        sa.Column("number", sa.SmallInteger(), nullable=False),
        sa.Column(
            "from_state",
            sa.Enum(
                "draft",
                "active",
                "suspended",
                "ended",
                name="agreementstate",
                native_enum=False,
                length=24,
            ),
            nullable=True,
        ),
        sa.Column(
            "to_state",
            sa.Enum(
                "draft",
                "active",
                "suspended",
                "ended",
                name="agreementstate",
                native_enum=False,
                length=24,
            ),
            nullable=False,
        ),
        sa.Column("actor", sa.String(length=40), nullable=False),
        sa.Column("reason", sa.String(length=200), nullable=False),
        sa.Column("suspended_from", sa.Date(), nullable=True),
        sa.Column("suspended_through", sa.Date(), nullable=True),
        sa.Column("at", Instant(), nullable=False),
        sa.ForeignKeyConstraint(
            ["agreement_id"], ["agreement.id"], name=op.f("fk_agreement_state_change_agreement_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_agreement_state_change")),
        sa.UniqueConstraint(
            "agreement_id", "number", name=op.f("uq_agreement_state_change_agreement_id_number")
        ),
    )
    op.create_table(
        "agreement_terms",
        sa.Column("id", BigId, nullable=False),
        sa.Column("agreement_id", BigId, nullable=False),
        sa.Column("account_id", BigId, nullable=False),
        sa.Column("version", sa.SmallInteger(), nullable=False),
        sa.Column(
            "frequency",
            sa.Enum("monthly", "quarterly", "free", name="frequency", native_enum=False, length=24),
            nullable=False,
        ),
        sa.Column("amount_fen", sa.BigInteger(), nullable=True),
        sa.Column("debit_day", sa.SmallInteger(), nullable=True),
        sa.Column(
            "channel",
            sa.Enum("wechat", "alipay", "bank", name="debitchannel", native_enum=False, length=24),
            nullable=True,
        ),
        sa.Column("first_period", sa.String(length=7), nullable=False),
        sa.Column("applies_from", sa.Date(), nullable=False),
        sa.Column("text_version", sa.String(length=10), nullable=False),
        sa.Column("text_sha256", sa.BINARY(length=32), nullable=False),
        sa.Column("signed_at", Instant(), nullable=False),
        sa.Column("request_key", sa.String(length=64), nullable=False),
        sa.Column("request_digest", sa.LargeBinary(length=32), nullable=False),
        sa.CheckConstraint(
            "(frequency = 'free' AND amount_fen IS NULL AND debit_day IS NULL AND channel IS NULL) OR (frequency <> 'free' AND amount_fen IS NOT NULL AND amount_fen > 0 AND debit_day IS NOT NULL AND debit_day BETWEEN 1 AND 28 AND channel IS NOT NULL)",
            name=op.f("ck_agreement_terms_whole_terms"),
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_agreement_terms_account_id")
        ),
        sa.ForeignKeyConstraint(
            ["agreement_id"], ["agreement.id"], name=op.f("fk_agreement_terms_agreement_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_agreement_terms")),
        sa.UniqueConstraint(
            "account_id", "request_key", name=op.f("uq_agreement_terms_account_id_request_key")
        ),
        sa.UniqueConstraint(
            "agreement_id", "version", name=op.f("uq_agreement_terms_agreement_id_version")
        ),
    )
    op.create_table(
        "agreement_consent",
        sa.Column("id", BigId, nullable=False),
        sa.Column("terms_id", BigId, nullable=False),
        sa.Column(
            "platform",
            sa.Enum("wechat", "alipay", name="platform", native_enum=False, length=10),
            nullable=False,
        ),
        sa.Column("text", sa.LargeBinary(length=32768), nullable=False),
        sa.Column("device", sa.LargeBinary(length=2048), nullable=False),
        sa.Column("client_ip", sa.LargeBinary(length=2048), nullable=False),
        sa.Column("key_id", sa.String(length=16), nullable=False),
        sa.ForeignKeyConstraint(
            ["terms_id"], ["agreement_terms.id"], name=op.f("fk_agreement_consent_terms_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_agreement_consent")),
        sa.UniqueConstraint("terms_id", name=op.f("uq_agreement_consent_terms_id")),
    )
    with op.batch_alter_table("agreement_consent", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_agreement_consent_key_id"), ["key_id"], unique=False)

    for table in ("agreement_terms", "agreement_state_change"):
        refuse_changes(table)


def downgrade():
    for table in (
        "agreement_consent",
        "agreement_terms",
        "agreement_state_change",
        "agreement",
    ):
        op.drop_table(table)

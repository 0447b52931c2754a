"""The first tables: people, log-ins, orders, refunds, callbacks, the journal, policy, staff.

Revision: 0001, after nothing.
"""

import sqlalchemy as sa
from alembic import op

from app.domain.base import BigId, Instant
from migrations.triggers import refuse_changes, refuse_entries_of_sealed_days

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade():
    if op.get_bind().dialect.name != "sqlite":
        # Numbers and keys are compared by their very bytes, as SQLite does: 'a' is not 'A'.
        op.execute("ALTER DATABASE CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
    op.create_table(
        "business_day",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("sealed_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("day", name=op.f("pk_business_day")),
    )
    op.create_table(
        "channel_callback",
        sa.Column("id", BigId, nullable=False),
        sa.Column("channel", sa.String(length=16), nullable=False),
        sa.Column("endpoint", sa.String(length=16), nullable=False),
        sa.Column("content_type", sa.String(length=80), nullable=False),
        sa.Column("number", sa.String(length=64), nullable=True),
        sa.Column(
            "result",
            sa.Enum(
                "credited",
                "duplicate",
                "suspense",
                "mismatch",
                "not_paid",
                "refund_noted",
                "ignored",
                "pending",
                name="callbackresult",
                native_enum=False,
                length=24,
            ),
            nullable=False,
        ),
        sa.Column("body", sa.LargeBinary(length=100000), nullable=False),
        sa.Column("key_id", sa.String(length=16), nullable=False),
        sa.Column("received_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_channel_callback")),
    )
    with op.batch_alter_table("channel_callback", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_channel_callback_key_id"), ["key_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_channel_callback_number"), ["number"], unique=False)
        batch_op.create_index(batch_op.f("ix_channel_callback_result"), ["result"], unique=False)

    op.create_table(
        "contributor",
        sa.Column("id", BigId, nullable=False),
        sa.Column(
            "document_kind",
            sa.Enum(
                "resident_id",
                "hk_mo_tw_residence_permit",
                "hk_mo_travel_permit",
                "tw_travel_permit",
                "foreign_permanent_resident_card",
                name="documentkind",
                native_enum=False,
                length=40,
            ),
            nullable=False,
        ),
        sa.Column("document_index", sa.BINARY(length=32), nullable=False),
        sa.Column("document_no", sa.LargeBinary(length=2048), nullable=False),
        sa.Column("document_expires_on", sa.Date(), nullable=True),
        sa.Column("real_name", sa.LargeBinary(length=2048), nullable=False),
        sa.Column("phone", sa.LargeBinary(length=2048), nullable=False),
        sa.Column("phone_index", sa.BINARY(length=32), nullable=False),
        sa.Column("birth_date", sa.LargeBinary(length=2048), nullable=False),
        sa.Column("key_id", sa.String(length=16), nullable=False),
        sa.Column(
            "employment_form",
            sa.Enum(
                "self_employed",
                "part_time",
                "new_form",
                name="employmentform",
                native_enum=False,
                length=20,
            ),
            nullable=False,
        ),
        sa.Column("industry_tags", sa.JSON(), nullable=False),
        sa.Column("declared_facts", sa.JSON(), nullable=False),
        sa.Column("subsidy_paid_fen", sa.BigInteger(), nullable=False),
        sa.Column("enrolled_at", Instant(), nullable=False),
        sa.CheckConstraint(
            "subsidy_paid_fen >= 0", name=op.f("ck_contributor_subsidy_not_negative")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_contributor")),
        sa.UniqueConstraint("document_index", name=op.f("uq_contributor_document_index")),
    )
    with op.batch_alter_table("contributor", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_contributor_key_id"), ["key_id"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_contributor_phone_index"), ["phone_index"], unique=False
        )

    op.create_table(
        "policy_value",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("effective_from", sa.Date(), nullable=False),
        sa.Column("until", sa.Date(), nullable=True),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("unit", sa.String(length=16), nullable=False),
        sa.Column("title", sa.String(length=64), nullable=False),
        sa.Column("source", sa.String(length=400), nullable=False),
        sa.Column(
            "status",
            sa.Enum(
                "confirmed",
                "reported",
                "assumed",
                name="policystatus",
                native_enum=False,
                length=24,
            ),
            nullable=False,
        ),
        sa.Column("loaded_at", Instant(), nullable=False),
        sa.CheckConstraint(
            "until IS NULL OR until >= effective_from",
            name=op.f("ck_policy_value_ends_after_it_begins"),
        ),
        sa.PrimaryKeyConstraint("name", "effective_from", name=op.f("pk_policy_value")),
    )
    op.create_table(
        "settlement_break",
        sa.Column("id", BigId, nullable=False),
        sa.Column("break_key", sa.String(length=200), nullable=False),
        sa.Column(
            "kind",
            sa.Enum(
                "amount_mismatch",
                "unknown_order",
                "late_payment",
                "account_closed",
                "paid_twice",
                "unknown_refund",
                "refund_failed",
                "late_refund",
                "subsidy_not_reversed",
                "undecided",
                name="breakkind",
                native_enum=False,
                length=24,
            ),
            nullable=False,
        ),
        sa.Column("channel", sa.String(length=16), nullable=False),
        sa.Column("number", sa.String(length=64), nullable=False),
        sa.Column("expected_fen", sa.BigInteger(), nullable=True),
        sa.Column("found_fen", sa.BigInteger(), nullable=True),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.Column("opened_at", Instant(), nullable=False),
        sa.Column("closed_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_settlement_break")),
        sa.UniqueConstraint("break_key", name=op.f("uq_settlement_break_break_key")),
    )
    with op.batch_alter_table("settlement_break", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_settlement_break_number"), ["number"], unique=False)

    op.create_table(
        "staff_member",
        sa.Column("id", BigId, nullable=False),
        sa.Column("username", sa.String(length=32), nullable=False),
        sa.Column("display_name", sa.String(length=30), nullable=False),
        sa.Column(
            "role",
            sa.Enum(
                "clerk",
                "reviewer",
                "supervisor",
                "auditor",
                "administrator",
                name="role",
                native_enum=False,
                length=16,
            ),
            nullable=False,
        ),
        sa.Column("password_hash", sa.String(length=255), nullable=False),
        sa.Column("failed_count", sa.Integer(), nullable=False),
        sa.Column("locked_until", Instant(), nullable=True),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_staff_member")),
        sa.UniqueConstraint("username", name=op.f("uq_staff_member_username")),
    )
    op.create_table(
        "account",
        sa.Column("id", BigId, nullable=False),
        sa.Column("contributor_id", BigId, nullable=False),
        sa.Column("account_no", sa.String(length=20), nullable=False),
        sa.Column(
            "status",
            sa.Enum(
                "normal",
                "sealed",
                "closed",
                "frozen",
                name="accountstatus",
                native_enum=False,
                length=10,
            ),
            nullable=False,
        ),
        sa.Column("balance_fen", sa.BigInteger(), nullable=False),
        sa.Column("held_fen", sa.BigInteger(), nullable=False),
        sa.Column("order_count", sa.BigInteger(), nullable=False),
        sa.Column("first_deposit_on", sa.Date(), nullable=True),
        sa.Column("opened_on", sa.Date(), nullable=False),
        sa.CheckConstraint("balance_fen >= 0", name=op.f("ck_account_balance_not_negative")),
        sa.CheckConstraint(
            "held_fen >= 0 AND held_fen <= balance_fen", name=op.f("ck_account_held_within_balance")
        ),
        sa.ForeignKeyConstraint(
            ["contributor_id"], ["contributor.id"], name=op.f("fk_account_contributor_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account")),
        sa.UniqueConstraint("account_no", name=op.f("uq_account_account_no")),
        sa.UniqueConstraint("contributor_id", name=op.f("uq_account_contributor_id")),
    )
    op.create_table(
        "daily_seal",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("previous_day", sa.Date(), nullable=True),
        sa.Column("entry_count", sa.BigInteger(), nullable=False),
        sa.Column("line_count", sa.BigInteger(), nullable=False),
        sa.Column("debit_fen", sa.BigInteger(), nullable=False),
        sa.Column("trial_balance", sa.JSON(), nullable=False),
        sa.Column("previous_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("sealed_at", Instant(), nullable=False),
        sa.ForeignKeyConstraint(["day"], ["business_day.day"], name=op.f("fk_daily_seal_day")),
        sa.PrimaryKeyConstraint("day", name=op.f("pk_daily_seal")),
        sa.UniqueConstraint("previous_day", name=op.f("uq_daily_seal_previous_day")),
    )
    op.create_table(
        "journal_entry",
        sa.Column("id", BigId, nullable=False),
        sa.Column("posting_key", sa.String(length=80), nullable=False),
        sa.Column(
            "kind",
            sa.Enum(
                "deposit",
                "deposit_refund",
                "suspense_receipt",
                "opening_subsidy",
                "opening_subsidy_reversal",
                name="entrykind",
                native_enum=False,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("business_date", sa.Date(), nullable=False),
        sa.Column("value_date", sa.Date(), nullable=False),
        sa.Column("posted_at", Instant(), nullable=False),
        sa.Column("memo", sa.String(length=120), nullable=False),
        sa.ForeignKeyConstraint(
            ["business_date"], ["business_day.day"], name=op.f("fk_journal_entry_business_date")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_journal_entry")),
        sa.UniqueConstraint("posting_key", name=op.f("uq_journal_entry_posting_key")),
    )
    with op.batch_alter_table("journal_entry", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_journal_entry_business_date"), ["business_date"], unique=False
        )

    op.create_table(
        "link_code",
        sa.Column("id", BigId, nullable=False),
        sa.Column("contributor_id", BigId, nullable=False),
        sa.Column("code_index", sa.BINARY(length=32), nullable=False),
        sa.Column("expires_at", Instant(), nullable=False),
        sa.ForeignKeyConstraint(
            ["contributor_id"], ["contributor.id"], name=op.f("fk_link_code_contributor_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_link_code")),
        sa.UniqueConstraint("code_index", name=op.f("uq_link_code_code_index")),
        sa.UniqueConstraint("contributor_id", name=op.f("uq_link_code_contributor_id")),
    )
    op.create_table(
        "login_identity",
        sa.Column("id", BigId, nullable=False),
        sa.Column(
            "platform",
            sa.Enum("wechat", "alipay", name="platform", native_enum=False, length=10),
            nullable=False,
        ),
        sa.Column("subject_index", sa.BINARY(length=32), nullable=False),
        sa.Column("subject", sa.LargeBinary(length=2048), nullable=False),
        sa.Column("key_id", sa.String(length=16), nullable=False),
        sa.Column("contributor_id", BigId, nullable=True),
        sa.Column("created_at", Instant(), nullable=False),
        sa.ForeignKeyConstraint(
            ["contributor_id"], ["contributor.id"], name=op.f("fk_login_identity_contributor_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_login_identity")),
        sa.UniqueConstraint(
            "contributor_id", "platform", name=op.f("uq_login_identity_contributor_id_platform")
        ),
        sa.UniqueConstraint(
            "platform", "subject_index", name=op.f("uq_login_identity_platform_subject_index")
        ),
    )
    with op.batch_alter_table("login_identity", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_login_identity_key_id"), ["key_id"], unique=False)

    op.create_table(
        "staff_login_attempt",
        sa.Column("id", BigId, nullable=False),
        sa.Column("staff_id", BigId, nullable=True),
        sa.Column(
            "result",
            sa.Enum("tried", "locked", "unknown", name="loginresult", native_enum=False, length=10),
            nullable=False,
        ),
        sa.Column("attempted_at", Instant(), nullable=False),
        sa.ForeignKeyConstraint(
            ["staff_id"], ["staff_member.id"], name=op.f("fk_staff_login_attempt_staff_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_staff_login_attempt")),
    )
    with op.batch_alter_table("staff_login_attempt", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_staff_login_attempt_staff_id"), ["staff_id"], unique=False
        )

    op.create_table(
        "staff_session",
        sa.Column("id", BigId, nullable=False),
        sa.Column("token_hash", sa.BINARY(length=32), nullable=False),
        sa.Column("staff_id", BigId, nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("expires_at", Instant(), nullable=False),
        sa.Column("revoked_at", Instant(), nullable=True),
        sa.ForeignKeyConstraint(
            ["staff_id"], ["staff_member.id"], name=op.f("fk_staff_session_staff_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_staff_session")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_staff_session_token_hash")),
    )
    with op.batch_alter_table("staff_session", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_staff_session_expires_at"), ["expires_at"], unique=False
        )
        batch_op.create_index(batch_op.f("ix_staff_session_staff_id"), ["staff_id"], unique=False)

    op.create_table(
        "hold",
        sa.Column("id", BigId, nullable=False),
        sa.Column("hold_key", sa.String(length=80), nullable=False),
        sa.Column("account_id", BigId, nullable=False),
        sa.Column("amount_fen", sa.BigInteger(), nullable=False),
        sa.Column("placed_at", Instant(), nullable=False),
        sa.CheckConstraint("amount_fen > 0", name=op.f("ck_hold_amount_positive")),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_hold_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_hold")),
        sa.UniqueConstraint("hold_key", name=op.f("uq_hold_hold_key")),
    )
    with op.batch_alter_table("hold", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_hold_account_id"), ["account_id"], unique=False)

    op.create_table(
        "journal_line",
        sa.Column("entry_id", BigId, nullable=False),
        sa.Column("line_no", sa.SmallInteger(), nullable=False),
        sa.Column("code", sa.String(length=10), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=True),
        sa.Column("channel", sa.String(length=16), nullable=True),
        sa.Column("amount_fen", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("amount_fen <> 0", name=op.f("ck_journal_line_amount_not_zero")),
        sa.ForeignKeyConstraint(
            ["entry_id"], ["journal_entry.id"], name=op.f("fk_journal_line_entry_id")
        ),
        sa.PrimaryKeyConstraint("entry_id", "line_no", name=op.f("pk_journal_line")),
    )
    with op.batch_alter_table("journal_line", schema=None) as batch_op:
        batch_op.create_index(
            "ix_journal_line_account_entry", ["account_id", "entry_id"], unique=False
        )

    op.create_table(
        "link_attempt",
        sa.Column("id", BigId, nullable=False),
        sa.Column("identity_id", BigId, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("attempted_at", Instant(), nullable=False),
        sa.ForeignKeyConstraint(
            ["identity_id"], ["login_identity.id"], name=op.f("fk_link_attempt_identity_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_link_attempt")),
        sa.UniqueConstraint(
            "identity_id", "number", name=op.f("uq_link_attempt_identity_id_number")
        ),
    )
    op.create_table(
        "payment_order",
        sa.Column("id", BigId, nullable=False),
        sa.Column("order_no", sa.String(length=32), nullable=False),
        sa.Column("account_id", BigId, nullable=False),
        sa.Column("channel", sa.String(length=16), nullable=False),
        sa.Column("amount_fen", sa.BigInteger(), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "sending",
                "awaiting_payment",
                "unknown",
                "closing",
                "succeeded",
                "closed",
                "failed",
                "in_suspense",
                name="orderstate",
                native_enum=False,
                length=24,
            ),
            nullable=False,
        ),
        sa.Column("request_key", sa.String(length=64), nullable=False),
        sa.Column("request_digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("expires_at", Instant(), nullable=False),
        sa.Column("prepay_reference", sa.String(length=64), nullable=True),
        sa.Column("channel_reference", sa.String(length=64), nullable=True),
        sa.Column("raw_code", sa.String(length=64), nullable=True),
        sa.Column("paid_at", Instant(), nullable=True),
        sa.Column("ended_at", Instant(), nullable=True),
        sa.Column("credited_on", sa.Date(), nullable=True),
        sa.Column("contribution_month", sa.String(length=7), nullable=True),
        sa.Column("refund_reserved_fen", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("refunded_fen", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("next_query_at", Instant(), nullable=True),
        sa.Column("query_count", sa.SmallInteger(), server_default="0", nullable=False),
        sa.CheckConstraint("amount_fen > 0", name=op.f("ck_payment_order_amount_positive")),
        sa.CheckConstraint(
            "refunded_fen >= 0 AND refund_reserved_fen >= refunded_fen AND refund_reserved_fen <= amount_fen",
            name=op.f("ck_payment_order_refunds_within_amount"),
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_payment_order_account_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payment_order")),
        sa.UniqueConstraint(
            "account_id", "request_key", name=op.f("uq_payment_order_account_id_request_key")
        ),
        sa.UniqueConstraint("order_no", name=op.f("uq_payment_order_order_no")),
    )
    with op.batch_alter_table("payment_order", schema=None) as batch_op:
        batch_op.create_index(
            "ix_payment_order_account_created", ["account_id", "created_at"], unique=False
        )
        batch_op.create_index("ix_payment_order_due", ["state", "next_query_at"], unique=False)

    op.create_table(
        "session_token",
        sa.Column("id", BigId, nullable=False),
        sa.Column("token_hash", sa.BINARY(length=32), nullable=False),
        sa.Column("identity_id", BigId, nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("expires_at", Instant(), nullable=False),
        sa.Column("revoked_at", Instant(), nullable=True),
        sa.ForeignKeyConstraint(
            ["identity_id"], ["login_identity.id"], name=op.f("fk_session_token_identity_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_session_token")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_session_token_token_hash")),
    )
    with op.batch_alter_table("session_token", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_session_token_expires_at"), ["expires_at"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_session_token_identity_id"), ["identity_id"], unique=False
        )

    op.create_table(
        "subsidy_grant",
        sa.Column("id", BigId, nullable=False),
        sa.Column("grant_key", sa.String(length=80), nullable=False),
        sa.Column("contributor_id", BigId, nullable=False),
        sa.Column("account_id", BigId, nullable=False),
        sa.Column(
            "kind",
            sa.Enum("opening", name="subsidykind", native_enum=False, length=24),
            nullable=False,
        ),
        sa.Column("due_fen", sa.BigInteger(), nullable=False),
        sa.Column("paid_fen", sa.BigInteger(), nullable=False),
        sa.Column("working", sa.JSON(), nullable=False),
        sa.Column("granted_on", sa.Date(), nullable=False),
        sa.Column("reversed_on", sa.Date(), nullable=True),
        sa.CheckConstraint(
            "paid_fen >= 0 AND paid_fen <= due_fen", name=op.f("ck_subsidy_grant_paid_within_due")
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_subsidy_grant_account_id")
        ),
        sa.ForeignKeyConstraint(
            ["contributor_id"], ["contributor.id"], name=op.f("fk_subsidy_grant_contributor_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subsidy_grant")),
        sa.UniqueConstraint("grant_key", name=op.f("uq_subsidy_grant_grant_key")),
    )
    with op.batch_alter_table("subsidy_grant", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_subsidy_grant_contributor_id"), ["contributor_id"], unique=False
        )

    op.create_table(
        "refund",
        sa.Column("id", BigId, nullable=False),
        sa.Column("refund_no", sa.String(length=32), nullable=False),
        sa.Column("order_id", BigId, nullable=False),
        sa.Column("account_id", BigId, nullable=False),
        sa.Column("amount_fen", sa.BigInteger(), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "requested",
                "rejected",
                "sending",
                "processing",
                "unknown",
                "succeeded",
                "failed",
                name="refundstate",
                native_enum=False,
                length=24,
            ),
            nullable=False,
        ),
        sa.Column(
            "reason",
            sa.Enum(
                "duplicate",
                "wrong_amount",
                "wrong_account",
                "other",
                name="refundreason",
                native_enum=False,
                length=24,
            ),
            nullable=False,
        ),
        sa.Column("note", sa.String(length=200), nullable=False),
        sa.Column("request_key", sa.String(length=64), nullable=False),
        sa.Column("request_digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("maker", sa.String(length=40), nullable=False),
        sa.Column("checker", sa.String(length=40), nullable=True),
        sa.Column("checker_note", sa.String(length=200), nullable=True),
        sa.Column("requested_at", Instant(), nullable=False),
        sa.Column("decided_at", Instant(), nullable=True),
        sa.Column("ended_at", Instant(), nullable=True),
        sa.Column("channel_reference", sa.String(length=64), nullable=True),
        sa.Column("raw_code", sa.String(length=64), nullable=True),
        sa.Column("next_query_at", Instant(), nullable=True),
        sa.Column("query_count", sa.SmallInteger(), server_default="0", nullable=False),
        sa.CheckConstraint(
            "state IN ('requested') OR checker IS NOT NULL",
            name=op.f("ck_refund_decided_by_someone"),
        ),
        sa.CheckConstraint("amount_fen > 0", name=op.f("ck_refund_amount_positive")),
        sa.CheckConstraint(
            "checker IS NULL OR checker <> maker", name=op.f("ck_refund_two_people")
        ),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_refund_account_id")),
        sa.ForeignKeyConstraint(
            ["order_id"], ["payment_order.id"], name=op.f("fk_refund_order_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_refund")),
        sa.UniqueConstraint("maker", "request_key", name=op.f("uq_refund_maker_request_key")),
        sa.UniqueConstraint("refund_no", name=op.f("uq_refund_refund_no")),
    )
    with op.batch_alter_table("refund", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_refund_account_id"), ["account_id"], unique=False)
        batch_op.create_index("ix_refund_due", ["state", "next_query_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_refund_order_id"), ["order_id"], unique=False)

    for table in ("journal_entry", "journal_line", "daily_seal", "policy_value"):
        refuse_changes(table)
    refuse_entries_of_sealed_days()


def downgrade():
    raise NotImplementedError("the first tables hold people's savings; restore a backup instead")

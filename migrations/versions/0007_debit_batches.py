"""Debits by file: batches with their frozen bytes, the bank's answers, a place for each order.

Revision: 0007, after 0006.
"""

import sqlalchemy as sa
from alembic import op

from app.domain.base import BigId, Instant

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

HAS_A_PLACE = "(batch_id IS NULL) = (batch_place IS NULL)"


def _enum(*values, name):
    return sa.Enum(*values, name=name, native_enum=False, length=24)


def upgrade():
    op.create_table(
        "debit_batch",
        sa.Column("id", BigId, nullable=False),
        sa.Column("channel", sa.String(length=16), nullable=False),
        sa.Column("bank_day", sa.Date(), nullable=False),
        sa.Column("sequence", sa.SmallInteger(), nullable=False),
        sa.Column(
            "state",
            _enum(
                *("collecting", "frozen", "rendered", "uploaded", "accepted", "rejected"),
                *("settled",),
                name="batchstate",
            ),
            nullable=False,
        ),
        sa.Column("line_count", sa.Integer(), nullable=False),
        sa.Column("sum_fen", sa.BigInteger(), nullable=False),
        sa.Column("results_due_at", Instant(), nullable=False),
        sa.Column("file_name", sa.String(length=120), nullable=True),
        sa.Column("size_bytes", sa.BigInteger(), nullable=True),
        sa.Column("digest", sa.String(length=64), nullable=True),
        sa.Column("signature", sa.String(length=1024), nullable=True),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("frozen_at", Instant(), nullable=True),
        sa.Column("rendered_at", Instant(), nullable=True),
        sa.Column("next_send_at", Instant(), nullable=True),
        sa.Column("uploaded_at", Instant(), nullable=True),
        sa.Column("answered_at", Instant(), nullable=True),
        sa.Column("ended_at", Instant(), nullable=True),
        sa.Column("raw_code", sa.String(length=64), nullable=True),
        sa.CheckConstraint(
            "line_count > 0 AND sum_fen > 0", name=op.f("ck_debit_batch_something_to_take")
        ),
        sa.CheckConstraint(
            "(state IN ('collecting', 'frozen')) = (digest IS NULL)",
            name=op.f("ck_debit_batch_rendered_has_bytes"),
        ),
        sa.CheckConstraint(
            "(state IN ('rejected', 'settled')) = (ended_at IS NOT NULL)",
            name=op.f("ck_debit_batch_ended_when_it_says"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_debit_batch")),
        sa.UniqueConstraint(
            "channel", "bank_day", "sequence", name=op.f("uq_debit_batch_channel_bank_day_sequence")
        ),
    )
    op.create_index("ix_debit_batch_state", "debit_batch", ["state"])
    op.create_table(
        "debit_batch_part",
        sa.Column("id", BigId, nullable=False),
        sa.Column("batch_id", BigId, nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("content", sa.LargeBinary(length=100_000), nullable=False),
        sa.Column("key_id", sa.String(length=16), nullable=False),
        sa.ForeignKeyConstraint(
            ["batch_id"], ["debit_batch.id"], name=op.f("fk_debit_batch_part_batch_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_debit_batch_part")),
        sa.UniqueConstraint("batch_id", "place", name=op.f("uq_debit_batch_part_batch_id_place")),
    )
    op.create_index("ix_debit_batch_part_key_id", "debit_batch_part", ["key_id"])
    _create_answers()
    if op.get_bind().dialect.name == "sqlite":
        _widen_orders_in_place()
    else:
        _widen_orders()
    op.create_index(
        "uq_payment_order_batch_place", "payment_order", ["batch_id", "batch_place"], unique=True
    )


def _create_answers():
    op.create_table(
        "bank_answer_file",
        sa.Column("id", BigId, nullable=False),
        sa.Column("channel", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("kind", _enum("acknowledgement", "results", name="answerkind"), nullable=False),
        sa.Column("batch_id", BigId, nullable=True),
        sa.Column("result", _enum("imported", "refused", name="fileresult"), nullable=False),
        sa.Column("report", sa.String(length=500), nullable=False),
        sa.Column("stamp", sa.String(length=200), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("changed_at", Instant(), nullable=False),
        sa.ForeignKeyConstraint(
            ["batch_id"], ["debit_batch.id"], name=op.f("fk_bank_answer_file_batch_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bank_answer_file")),
        sa.UniqueConstraint(
            "channel", "name", "digest", name=op.f("uq_bank_answer_file_channel_name_digest")
        ),
    )
    op.create_index("ix_bank_answer_file_batch_id", "bank_answer_file", ["batch_id"])


def _widen_orders():
    op.add_column("payment_order", sa.Column("batch_id", BigId))
    op.add_column("payment_order", sa.Column("batch_place", sa.Integer()))
    op.create_foreign_key(
        op.f("fk_payment_order_batch_id"), "payment_order", "debit_batch", ["batch_id"], ["id"]
    )
    op.create_check_constraint(
        op.f("ck_payment_order_batch_has_a_place"), "payment_order", HAS_A_PLACE
    )


def _widen_orders_in_place():
    """SQLite adds a column with its constraints; anything later would write the table anew."""
    for column in (
        "batch_id INTEGER CONSTRAINT fk_payment_order_batch_id REFERENCES debit_batch (id)",
        f"batch_place INTEGER CONSTRAINT ck_payment_order_batch_has_a_place CHECK ({HAS_A_PLACE})",
    ):
        op.execute(f"ALTER TABLE payment_order ADD COLUMN {column}")


def downgrade():
    if op.get_bind().dialect.name == "sqlite":
        op.drop_index("uq_payment_order_batch_place", "payment_order")
        for column in ("batch_place", "batch_id"):
            op.execute(f"ALTER TABLE payment_order DROP COLUMN {column}")
    else:
        op.drop_constraint("ck_payment_order_batch_has_a_place", "payment_order", type_="check")
        op.drop_constraint("fk_payment_order_batch_id", "payment_order", type_="foreignkey")
        op.drop_index("uq_payment_order_batch_place", "payment_order")
        for column in ("batch_place", "batch_id"):
            op.drop_column("payment_order", column)
    for table in ("bank_answer_file", "debit_batch_part", "debit_batch"):
        op.drop_table(table)

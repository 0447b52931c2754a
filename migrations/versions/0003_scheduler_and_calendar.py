"""The scheduler's lease, the runs of its jobs, and the calendar of holidays.

Revision: 0003, after 0002.
"""

import sqlalchemy as sa
from alembic import op

from app.domain.base import BigId, Instant

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade():
    op.create_table(
        "calendar_day",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column(
            "kind",
            sa.Enum("holiday", "make_up_workday", name="daykind", native_enum=False, length=24),
            nullable=False,
        ),
        sa.Column("title", sa.String(length=32), nullable=False),
        sa.Column("notice_year", sa.SmallInteger(), nullable=False),
        sa.Column("source", sa.String(length=200), nullable=False),
        sa.Column("imported_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("day", name=op.f("pk_calendar_day")),
    )
    op.create_table(
        "scheduler_lease",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("holder", sa.String(length=120), nullable=True),
        sa.Column("term", sa.BigInteger(), nullable=False),
        sa.Column("taken_at", Instant(), nullable=False),
        sa.Column("renewed_at", Instant(), nullable=False),
        sa.Column("expires_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_scheduler_lease")),
    )
    op.create_table(
        "job_run",
        sa.Column("id", BigId, nullable=False),
        sa.Column("job", sa.String(length=40), nullable=False),
        sa.Column("on_date", sa.Date(), nullable=False),
        sa.Column(
            "triggered_by",
            sa.Enum("schedule", "manual", name="trigger", native_enum=False, length=24),
            nullable=False,
        ),
        sa.Column(
            "state",
            sa.Enum(
                "running",
                "succeeded",
                "failed",
                "abandoned",
                name="runstate",
                native_enum=False,
                length=24,
            ),
            nullable=False,
        ),
        sa.Column("started_at", Instant(), nullable=False),
        sa.Column("ended_at", Instant(), nullable=True),
        sa.Column("counts", sa.JSON(), nullable=False),
        sa.Column("error", sa.String(length=200), nullable=True),
        sa.Column("holder", sa.String(length=120), nullable=False),
        sa.Column("term", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "(state = 'running') = (ended_at IS NULL)",
            name=op.f("ck_job_run_ends_when_it_is_not_running"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job_run")),
    )
    with op.batch_alter_table("job_run", schema=None) as batch_op:
        batch_op.create_index("ix_job_run_job_started_at", ["job", "started_at"], unique=False)
        batch_op.create_index("ix_job_run_started_at", ["started_at"], unique=False)
        batch_op.create_index("ix_job_run_state", ["state"], unique=False)
    op.create_table(
        "job_progress",
        sa.Column("job", sa.String(length=40), nullable=False),
        sa.Column("known_since", Instant(), nullable=False),
        sa.Column("tried_at", Instant(), nullable=False),
        sa.Column("succeeded_at", Instant(), nullable=True),
        sa.Column("failures", sa.BigInteger(), nullable=False),
        sa.Column("done_through", sa.Date(), nullable=True),
        sa.PrimaryKeyConstraint("job", name=op.f("pk_job_progress")),
    )


def downgrade():
    for table in ("job_progress", "job_run", "scheduler_lease", "calendar_day"):
        op.drop_table(table)

"""Counters of what waits, so that looking does not count rows; indices for fair shares and for endings."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
READY = "state = 'open' AND n_outstanding = 0"
RUNNING = "state = 'running'"
FRESH = "state = 'waiting' AND attempt = 0"
RETRIED = "state = 'waiting' AND attempt > 0"
WAITING = ["engine_id", "priority", "attempt", "pk", "est_tokens", "created_at", "state"]


def upgrade() -> None:
    op.create_table(
        "share",
        sa.Column("job_pk", KEY, nullable=False, autoincrement=False),
        sa.Column("engine_id", sa.Text(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("n_waiting", sa.Integer(), nullable=False),
        sa.Column("n_retried", sa.Integer(), nullable=False),
        sa.Column("waiting_tokens", sa.BigInteger(), nullable=False),
        sa.Column("turn", sa.Double(), nullable=False),
        sa.Column("since", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("job_pk", "engine_id", name=op.f("pk_share")),
    )
    op.create_table(
        "engine_work",
        sa.Column("engine_id", sa.Text(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("stripe", sa.Integer(), nullable=False),
        sa.Column("n_waiting", sa.Integer(), nullable=False),
        sa.Column("waiting_tokens", sa.BigInteger(), nullable=False),
        sa.Column("n_leased", sa.Integer(), nullable=False),
        sa.Column("leased_tokens", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("engine_id", "priority", "stripe", name=op.f("pk_engine_work")),
    )
    _count()
    op.drop_index("ix_assignment_waiting", table_name="assignment")
    op.drop_index("ix_query_ready", table_name="query")
    op.drop_index("ix_job_running", table_name="job")
    _partial("ix_assignment_fresh", "assignment", ["engine_id", "job_pk", "pk"], FRESH)
    _partial("ix_assignment_retried", "assignment", ["engine_id", "priority", "attempt", "pk"], RETRIED)
    _partial("ix_query_ready", "query", ["priority", "job_pk", "pk"], READY)
    _partial("ix_query_routing", "query", ["pk"], f"{READY} AND stage = 0")
    _partial("ix_share_turn", "share", ["engine_id", "rank", "turn"], "n_waiting > n_retried")
    _partial("ix_share_waiting", "share", ["engine_id", "job_pk"], "n_waiting > 0")
    _partial("ix_job_deadline", "job", ["deadline_at"], RUNNING)
    op.create_index("ix_job_state", "job", ["state", "pk"])
    op.create_index("ix_engine_load_engine", "engine_load", ["engine_id", "at"])
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE engine_work SET (fillfactor = 30)")
        op.execute("ALTER TABLE share SET (fillfactor = 50)")


def downgrade() -> None:
    op.drop_index("ix_engine_load_engine", table_name="engine_load")
    op.drop_index("ix_job_state", table_name="job")
    op.drop_index("ix_job_deadline", table_name="job")
    op.drop_index("ix_query_routing", table_name="query")
    op.drop_index("ix_query_ready", table_name="query")
    op.drop_index("ix_assignment_retried", table_name="assignment")
    op.drop_index("ix_assignment_fresh", table_name="assignment")
    op.execute("UPDATE job SET state = 'running' WHERE state = 'cancelling' OR state = 'expiring'")
    _partial("ix_job_running", "job", ["pk"], RUNNING)
    _partial("ix_query_ready", "query", ["priority", "pk"], READY)
    _partial("ix_assignment_waiting", "assignment", WAITING, "state = 'waiting'")
    op.drop_table("engine_work")
    op.drop_table("share")


def _count() -> None:
    """Ranks: interactive work (10 and above) by its priority, all batches alike. Stripes: job number by 8."""
    op.execute(
        "INSERT INTO share SELECT job_pk, engine_id, priority,"
        " CASE WHEN priority >= 10 THEN -priority ELSE 0 END, count(*),"
        " sum(CASE WHEN attempt > 0 THEN 1 ELSE 0 END), sum(est_tokens), 0, min(created_at)"
        " FROM assignment WHERE state = 'waiting' GROUP BY job_pk, engine_id, priority"
    )
    op.execute(
        "INSERT INTO engine_work SELECT engine_id, priority, job_pk % 8,"
        " sum(CASE WHEN state = 'waiting' THEN 1 ELSE 0 END),"
        " sum(CASE WHEN state = 'waiting' THEN est_tokens ELSE 0 END),"
        " sum(CASE WHEN state = 'leased' THEN 1 ELSE 0 END),"
        " sum(CASE WHEN state = 'leased' THEN est_tokens ELSE 0 END)"
        " FROM assignment WHERE state = 'waiting' OR state = 'leased'"
        " GROUP BY engine_id, priority, job_pk % 8"
    )


def _partial(name: str, table: str, columns: list[str], condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)

"""Jobs, their work, and competence cards."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "card",
        sa.Column("pk", KEY, nullable=False),
        sa.Column("expert_id", sa.Text(), nullable=False),
        sa.Column("profile_hash", sa.Text(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_card")),
    )
    op.create_index("ix_card_profile_hash", "card", ["profile_hash"], unique=False)
    op.create_table(
        "engine_load",
        sa.Column("pk", KEY, nullable=False),
        sa.Column("engine_id", sa.Text(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_engine_load")),
    )
    op.create_index("ix_engine_load_at", "engine_load", ["at"], unique=False)
    op.create_table(
        "job",
        sa.Column("pk", KEY, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("n_total", sa.Integer(), nullable=False),
        sa.Column("n_completed", sa.Integer(), nullable=False),
        sa.Column("n_failed", sa.Integer(), nullable=False),
        sa.Column("n_assignments", sa.Integer(), nullable=False),
        sa.Column("n_responses", sa.Integer(), nullable=False),
        sa.Column("n_regenerated", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("finished_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_job")),
        sa.UniqueConstraint("id", name=op.f("uq_job_id")),
    )
    op.create_index(
        "ix_job_running",
        "job",
        ["pk"],
        unique=False,
        sqlite_where=sa.text("state = 'running'"),
        postgresql_where=sa.text("state = 'running'"),
    )
    op.create_table(
        "outcome",
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("query_hash", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Integer(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("fingerprint", "query_hash", name=op.f("pk_outcome")),
    )
    op.create_table(
        "profile_set",
        sa.Column("pk", KEY, nullable=False),
        sa.Column("profile_hash", sa.Text(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_profile_set")),
        sa.UniqueConstraint("profile_hash", name=op.f("uq_profile_set_profile_hash")),
    )
    op.create_table(
        "job_engine",
        sa.Column("job_pk", KEY, nullable=False),
        sa.Column("engine_id", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["job_pk"], ["job.pk"], name=op.f("fk_job_engine_job_pk_job")),
        sa.PrimaryKeyConstraint("job_pk", "engine_id", name=op.f("pk_job_engine")),
    )
    op.create_table(
        "query",
        sa.Column("pk", KEY, nullable=False),
        sa.Column("job_pk", KEY, nullable=False),
        sa.Column("ix", sa.Integer(), nullable=False),
        sa.Column("custom_id", sa.Text(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("stage", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("n_outstanding", sa.Integer(), nullable=False),
        sa.Column("decision", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["job_pk"], ["job.pk"], name=op.f("fk_query_job_pk_job")),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_query")),
        sa.UniqueConstraint("job_pk", "ix", name=op.f("uq_query_job_pk_ix")),
    )
    op.create_index(
        "ix_query_ready",
        "query",
        ["priority", "pk"],
        unique=False,
        sqlite_where=sa.text("state = 'open' AND n_outstanding = 0"),
        postgresql_where=sa.text("state = 'open' AND n_outstanding = 0"),
    )
    op.create_table(
        "answer",
        sa.Column("query_pk", KEY, nullable=False),
        sa.Column("decision_is_queries", sa.Boolean(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["query_pk"], ["query.pk"], name=op.f("fk_answer_query_pk_query")),
        sa.PrimaryKeyConstraint("query_pk", name=op.f("pk_answer")),
    )
    op.create_table(
        "assignment",
        sa.Column("pk", KEY, nullable=False),
        sa.Column("query_pk", KEY, nullable=False),
        sa.Column("job_pk", KEY, nullable=False),
        sa.Column("stage", sa.Integer(), nullable=False),
        sa.Column("expert_id", sa.Text(), nullable=False),
        sa.Column("sample_ix", sa.Integer(), nullable=False),
        sa.Column("engine_id", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("prompt_ix", sa.Integer(), nullable=False),
        sa.Column("sampling", sa.Text(), nullable=False),
        sa.Column("est_tokens", sa.Integer(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("lease_owner", sa.Text(), nullable=True),
        sa.Column("lease_expires_at", sa.Double(), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["query_pk"], ["query.pk"], name=op.f("fk_assignment_query_pk_query")),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_assignment")),
        sa.UniqueConstraint(
            "query_pk",
            "stage",
            "expert_id",
            "sample_ix",
            name=op.f("uq_assignment_query_pk_stage_expert_id_sample_ix"),
        ),
    )
    op.create_index(
        "ix_assignment_leased",
        "assignment",
        ["lease_owner", "engine_id"],
        unique=False,
        sqlite_where=sa.text("state = 'leased'"),
        postgresql_where=sa.text("state = 'leased'"),
    )
    op.create_index(
        "ix_assignment_expiring",
        "assignment",
        ["lease_expires_at"],
        unique=False,
        sqlite_where=sa.text("state = 'leased'"),
        postgresql_where=sa.text("state = 'leased'"),
    )
    op.create_index(
        "ix_assignment_retried",
        "assignment",
        ["attempt"],
        unique=False,
        sqlite_where=sa.text("state = 'waiting' AND attempt > 0"),
        postgresql_where=sa.text("state = 'waiting' AND attempt > 0"),
    )
    op.create_index(
        "ix_assignment_waiting",
        "assignment",
        ["engine_id", "priority", "attempt", "pk", "est_tokens", "created_at", "state"],
        unique=False,
        sqlite_where=sa.text("state = 'waiting'"),
        postgresql_where=sa.text("state = 'waiting'"),
    )
    op.create_table(
        "prompt",
        sa.Column("query_pk", KEY, nullable=False),
        sa.Column("stage", sa.Integer(), nullable=False),
        sa.Column("ix", sa.Integer(), nullable=False),
        sa.Column("messages", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["query_pk"], ["query.pk"], name=op.f("fk_prompt_query_pk_query")),
        sa.PrimaryKeyConstraint("query_pk", "stage", "ix", name=op.f("pk_prompt")),
    )
    op.create_table(
        "response",
        sa.Column("assignment_pk", KEY, nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["assignment_pk"], ["assignment.pk"], name=op.f("fk_response_assignment_pk_assignment")
        ),
        sa.PrimaryKeyConstraint("assignment_pk", name=op.f("pk_response")),
    )


def downgrade() -> None:
    op.drop_table("response")
    op.drop_table("prompt")
    op.drop_index(
        "ix_assignment_waiting",
        table_name="assignment",
        sqlite_where=sa.text("state = 'waiting'"),
        postgresql_where=sa.text("state = 'waiting'"),
    )
    op.drop_index(
        "ix_assignment_retried",
        table_name="assignment",
        sqlite_where=sa.text("state = 'waiting' AND attempt > 0"),
        postgresql_where=sa.text("state = 'waiting' AND attempt > 0"),
    )
    op.drop_index(
        "ix_assignment_leased",
        table_name="assignment",
        sqlite_where=sa.text("state = 'leased'"),
        postgresql_where=sa.text("state = 'leased'"),
    )
    op.drop_index(
        "ix_assignment_expiring",
        table_name="assignment",
        sqlite_where=sa.text("state = 'leased'"),
        postgresql_where=sa.text("state = 'leased'"),
    )
    op.drop_table("assignment")
    op.drop_table("answer")
    op.drop_index(
        "ix_query_ready",
        table_name="query",
        sqlite_where=sa.text("state = 'open' AND n_outstanding = 0"),
        postgresql_where=sa.text("state = 'open' AND n_outstanding = 0"),
    )
    op.drop_table("query")
    op.drop_table("job_engine")
    op.drop_table("profile_set")
    op.drop_table("outcome")
    op.drop_index(
        "ix_job_running",
        table_name="job",
        sqlite_where=sa.text("state = 'running'"),
        postgresql_where=sa.text("state = 'running'"),
    )
    op.drop_table("job")
    op.drop_index("ix_engine_load_at", table_name="engine_load")
    op.drop_table("engine_load")
    op.drop_index("ix_card_profile_hash", table_name="card")
    op.drop_table("card")

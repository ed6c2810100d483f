"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = (
    "association",
    "conflict",
    "quarantine",
    "study",
    "worker_slot",
    "revision",
    "series",
    "instance",
    "result_instance",
    "transition",
    "delivery",
    "revision_instance",
)
TIME = sa.String(32)  # aware UTC, ISO 8601, fixed width


def upgrade() -> None:
    op.create_table(
        "association",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("calling_ae", sa.String(length=16), nullable=False),
        sa.Column("peer", sa.String(length=64), nullable=False),
        sa.Column("listener", sa.String(length=255), nullable=False),
        sa.Column("opened_at", TIME, nullable=False),
        sa.Column("last_at", TIME, nullable=False),
        sa.Column("closed_at", TIME, nullable=True),
        sa.Column("ending", sa.String(length=16), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_association_closed_at", "association", ["closed_at"])
    op.create_table(
        "conflict",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("sop_uid", sa.String(length=64), nullable=False),
        sa.Column("path", sa.String(length=255), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("received_at", TIME, nullable=False),
        sa.Column("calling_ae", sa.String(length=16), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_conflict_sop_uid", "conflict", ["sop_uid"])
    op.create_table(
        "quarantine",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("received_at", TIME, nullable=False),
        sa.Column("path", sa.String(length=255), nullable=False),
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("calling_ae", sa.String(length=16), nullable=False),
        sa.Column("study_uid", sa.String(length=64), nullable=True),
        sa.Column("sop_uid", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_quarantine_received_at", "quarantine", ["received_at"])
    op.create_index("ix_quarantine_study_uid", "quarantine", ["study_uid"])
    op.create_table(
        "study",
        sa.Column("study_uid", sa.String(length=64), nullable=False),
        sa.Column("patient_hash", sa.String(length=64), nullable=False),
        sa.Column("first_at", TIME, nullable=False),
        sa.Column("last_at", TIME, nullable=False),
        sa.Column("calling_ae", sa.String(length=16), nullable=False),
        sa.Column("problem_code", sa.String(length=64), nullable=True),
        sa.Column("problem_words", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("study_uid"),
    )
    op.create_index("ix_study_last_at", "study", ["last_at"])
    op.create_table(
        "worker_slot",
        sa.Column("executor_id", sa.String(length=64), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("heartbeat_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("executor_id"),
    )
    op.create_table(
        "revision",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("study_uid", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("set_hash", sa.String(length=64), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.Column("code", sa.String(length=64), nullable=True),
        sa.Column("words", sa.Text(), nullable=True),
        sa.Column("release", sa.Text(), nullable=True),
        sa.Column("evidence", sa.JSON(), nullable=False),
        sa.Column("plan", sa.JSON(), nullable=True),
        sa.Column("stage", sa.String(length=32), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("report", sa.JSON(), nullable=True),
        sa.ForeignKeyConstraint(["study_uid"], ["study.study_uid"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("study_uid", "number"),
    )
    op.create_index("ix_revision_state", "revision", ["state"])
    op.create_index("ix_revision_study_uid", "revision", ["study_uid"])
    op.create_table(
        "series",
        sa.Column("series_uid", sa.String(length=64), nullable=False),
        sa.Column("study_uid", sa.String(length=64), nullable=False),
        sa.Column("modality", sa.String(length=16), nullable=False),
        sa.ForeignKeyConstraint(["study_uid"], ["study.study_uid"]),
        sa.PrimaryKeyConstraint("series_uid"),
    )
    op.create_index("ix_series_study_uid", "series", ["study_uid"])
    op.create_table(
        "instance",
        sa.Column("sop_uid", sa.String(length=64), nullable=False),
        sa.Column("sop_class", sa.String(length=64), nullable=False),
        sa.Column("series_uid", sa.String(length=64), nullable=False),
        sa.Column("study_uid", sa.String(length=64), nullable=False),
        sa.Column("transfer_syntax", sa.String(length=64), nullable=False),
        sa.Column("path", sa.String(length=255), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("received_at", TIME, nullable=False),
        sa.Column("calling_ae", sa.String(length=16), nullable=False),
        sa.Column("association_id", sa.String(length=32), nullable=False),
        sa.Column("patient_hash", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["series_uid"], ["series.series_uid"]),
        sa.ForeignKeyConstraint(["study_uid"], ["study.study_uid"]),
        sa.PrimaryKeyConstraint("sop_uid"),
    )
    op.create_index("ix_instance_association_id", "instance", ["association_id"])
    op.create_index("ix_instance_series_uid", "instance", ["series_uid"])
    op.create_index("ix_instance_study_uid", "instance", ["study_uid"])
    op.create_table(
        "result_instance",
        sa.Column("sop_uid", sa.String(length=64), nullable=False),
        sa.Column("revision_id", sa.Integer(), nullable=False),
        sa.Column("series_uid", sa.String(length=64), nullable=False),
        sa.Column("contrast", sa.String(length=16), nullable=False),
        sa.Column("path", sa.String(length=255), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["revision_id"], ["revision.id"]),
        sa.PrimaryKeyConstraint("sop_uid"),
    )
    op.create_index("ix_result_instance_revision_id", "result_instance", ["revision_id"])
    op.create_index("ix_result_instance_series_uid", "result_instance", ["series_uid"])
    op.create_table(
        "transition",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("revision_id", sa.Integer(), nullable=False),
        sa.Column("old", sa.String(length=16), nullable=True),
        sa.Column("new", sa.String(length=16), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("code", sa.String(length=64), nullable=True),
        sa.Column("words", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["revision_id"], ["revision.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_transition_revision_id", "transition", ["revision_id"])
    op.create_table(
        "delivery",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("revision_id", sa.Integer(), nullable=False),
        sa.Column("sop_uid", sa.String(length=64), nullable=False),
        sa.Column("destination", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_at", TIME, nullable=False),
        sa.Column("last_status", sa.String(length=64), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("done_at", TIME, nullable=True),
        sa.ForeignKeyConstraint(["revision_id"], ["revision.id"]),
        sa.ForeignKeyConstraint(["sop_uid"], ["result_instance.sop_uid"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("sop_uid", "destination"),
    )
    op.create_index("ix_delivery_due", "delivery", ["destination", "state", "next_at"])
    op.create_index("ix_delivery_revision_id", "delivery", ["revision_id"])
    op.create_table(
        "revision_instance",
        sa.Column("revision_id", sa.Integer(), nullable=False),
        sa.Column("sop_uid", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["revision_id"], ["revision.id"]),
        sa.ForeignKeyConstraint(["sop_uid"], ["instance.sop_uid"]),
        sa.PrimaryKeyConstraint("revision_id", "sop_uid"),
    )


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)

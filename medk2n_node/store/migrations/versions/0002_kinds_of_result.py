"""Kinds of result, and how synthetic series compared with the truth that came later."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

MR_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.4"  # all that was made before


def upgrade() -> None:
    op.add_column(
        "result_instance",
        sa.Column("kind", sa.String(length=16), nullable=False, server_default="series"),
    )
    op.add_column(
        "result_instance",
        sa.Column("sop_class", sa.String(length=64), nullable=False, server_default=MR_IMAGE_STORAGE),
    )
    op.create_table(
        "truth_score",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("study_uid", sa.String(length=64), nullable=False),
        sa.Column("revision_id", sa.Integer(), nullable=False),
        sa.Column("contrast", sa.String(length=16), nullable=False),
        sa.Column("synthetic_series_uid", sa.String(length=64), nullable=False),
        sa.Column("truth_series_uid", sa.String(length=64), nullable=False),
        sa.Column("model_digest", sa.String(length=64), nullable=False),
        sa.Column("psnr_db", sa.Double(), nullable=True),
        sa.Column("error", sa.Double(), nullable=True),
        sa.Column("voxels", sa.Integer(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("measured_at", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["study_uid"], ["study.study_uid"]),
        sa.ForeignKeyConstraint(["revision_id"], ["revision.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("synthetic_series_uid", "truth_series_uid"),
    )
    op.create_index("ix_truth_score_study_uid", "truth_score", ["study_uid"])
    op.create_index("ix_truth_score_model_digest", "truth_score", ["model_digest"])


def downgrade() -> None:
    op.drop_table("truth_score")
    with op.batch_alter_table("result_instance") as table:
        table.drop_column("sop_class")
        table.drop_column("kind")

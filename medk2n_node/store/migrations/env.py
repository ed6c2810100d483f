"""Alembic's entry: run the migrations on the connection that medk2n_node.store.migrate hands over."""

from __future__ import annotations

from alembic import context

from medk2n_node.store.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,  # SQLite alters a table by copying it
)
with context.begin_transaction():
    context.run_migrations()

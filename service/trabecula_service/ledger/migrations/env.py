"""Runs migrations on the connection that ``database.migrate`` hands over."""

from alembic import context

from trabecula_service.ledger.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, transactional_ddl=True)
context.run_migrations()

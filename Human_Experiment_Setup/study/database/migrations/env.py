"""Runs migrations on the connection that `connection.migrate` hands over."""

from alembic import context

from Human_Experiment_Setup.study.database.schema import Base

context.configure(
    connection=context.config.attributes["connection"], target_metadata=Base.metadata, transactional_ddl=False
)
context.run_migrations()

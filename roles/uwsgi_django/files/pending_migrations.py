"""Print the migrations that a release would apply, as JSON with the keys pending, breaking and missing, each a list.

Run in the release's source directory, with its environment. Breaking is what takes away or changes something that the
release which runs meanwhile may need: it goes on serving until its host switches, and after a way back. Missing are
those that would make the tables of the project's own models. Both are sentences.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path.cwd()))
import django

django.setup()
from django.apps import apps  # noqa: E402
from django.db import connection, models, router  # noqa: E402
from django.db.migrations import operations  # noqa: E402
from django.db.migrations.executor import MigrationExecutor  # noqa: E402
from django.db.migrations.state import ProjectState  # noqa: E402

REMOVING = (
    operations.RemoveField,
    operations.DeleteModel,
    operations.RenameField,
    operations.RenameModel,
    operations.AlterModelTable,
)


def model_of(operation: operations.base.Operation, app: str) -> tuple[str, str]:
    """The model that an operation is about; an operation about none gets a name that no model has."""
    names = (getattr(operation, name, None) for name in ("model_name", "old_name", "name"))
    return app, next(filter(None, names), "").lower()


def needs_a_value(field: models.Field) -> bool:
    """Whether the database refuses a row that says nothing of the field's column."""
    without = getattr(field, "db_default", models.NOT_PROVIDED) is models.NOT_PROVIDED
    return bool(field.column) and not field.null and without


def column_of(field: models.Field) -> tuple[str, str]:
    """What another release knows a field's column by."""
    return field.column, field.db_parameters(connection)["type"]


def breaks(operation: operations.base.Operation, app: str, before: ProjectState, after: ProjectState) -> bool:
    """Whether an operation takes away or changes what a release that does not know it may need."""
    if isinstance(operation, operations.SeparateDatabaseAndState):
        return bool(operation.database_operations)  # what they do to the models is nowhere said
    if isinstance(operation, (operations.AddField, operations.AlterField)):
        new = after.apps.get_model(app, operation.model_name)._meta.get_field(operation.name)
        if isinstance(operation, operations.AddField):
            return needs_a_value(new)
        old = before.apps.get_model(app, operation.model_name)._meta.get_field(operation.name)
        return (old.null and not new.null) or column_of(old) != column_of(new)
    return isinstance(operation, (*REMOVING, operations.RunSQL))


executor = MigrationExecutor(connection)
plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
# A model that a migration of this plan creates is not one that the running release knows.
created, breaking = set(), []
state = executor._create_project_state(with_applied_migrations=True)
for migration, _ in plan:
    for operation in migration.operations:
        before = state.clone()
        operation.state_forwards(migration.app_label, state)
        model = model_of(operation, migration.app_label)
        if isinstance(operation, operations.CreateModel):
            created.add(model)
        elif model not in created and breaks(operation, migration.app_label, before, state):
            breaking.append(f"{migration.app_label}.{migration.name}: {operation.describe()}")
pending = [f"{step.app_label}.{step.name}" for step, _ in plan]
there, missing = set(connection.introspection.table_names(include_views=True)), []
with_migrations = {app for app, _ in executor.loader.disk_migrations}
for config in apps.get_app_configs():
    made = [model for model in config.get_models() if model._meta.can_migrate(connection)]
    tables = {model._meta.db_table for model in made if router.allow_migrate_model(connection.alias, model)} - there
    if config.label in with_migrations or not tables:
        continue
    # What somebody else publishes without migrations gets its tables without.
    if not Path(config.path).resolve().is_relative_to(Path(sys.prefix).resolve()):
        named = ", ".join(sorted(tables))
        missing.append(f"{config.label} has models and no migrations, so nothing makes its tables {named}")
    elif config.label in executor.loader.unmigrated_apps:
        pending.append(f"{config.label}, without migrations")
print(json.dumps({"pending": pending, "breaking": breaking, "missing": missing}))

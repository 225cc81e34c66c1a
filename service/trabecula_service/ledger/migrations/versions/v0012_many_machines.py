"""Many machines and many studies: priorities, processes, states and counts kept beside the rows they count."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_APPEND_ONLY = ("calibration_entries", "calibration_checks")

_FILL_STATES = """
UPDATE studies SET state = coalesce(
  (SELECT versions.state FROM versions WHERE versions.study_id = studies.id AND versions.number = studies.latest_version), state
)"""


def upgrade() -> None:
    """Add the columns and tables, fill them from what is there, and let triggers keep them."""
    for table in ("studies", "jobs"):
        priority = sa.Column("priority", sa.Integer(), server_default="0", nullable=False, comment="as in queue.port.Priority")
        op.add_column(table, priority)
    state_comment = "of the latest version; kept by a trigger"
    op.add_column("studies", sa.Column("state", sa.String(length=16), server_default="receiving", nullable=False, comment=state_comment))
    dispatch_comment = "id of the job in Procrastinate's table, on PostgreSQL"
    op.add_column("jobs", sa.Column("dispatch_id", sa.BigInteger(), nullable=True, comment=dispatch_comment))
    op.drop_index("ix_jobs_state_available_at", "jobs")
    op.create_index("ix_jobs_state_priority_available_at", "jobs", ["state", "priority", "available_at"])
    op.drop_index("ix_studies_first_received_at", "studies")
    op.create_index("ix_studies_first_received_at_id", "studies", ["first_received_at", "id"])
    op.create_index("ix_studies_state_first_received_at_id", "studies", ["state", "first_received_at", "id"])
    op.create_index("ix_associations_closed_at", "associations", ["closed_at"])
    op.create_index("ix_instances_association_id", "instances", ["association_id"])
    op.create_table(
        "processes",
        sa.Column("run_id", sa.String(length=32), nullable=False),
        sa.Column("roles", sa.String(length=64), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("started_at", sa.Float(), nullable=False),
        sa.Column("seen_at", sa.Float(), nullable=False, comment="last sign of life, by the database's clock"),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_processes")),
    )
    op.create_table(
        "tallies",
        sa.Column("counted", sa.String(length=16), nullable=False, comment="studies by state, objects by kind, repeats; kept by triggers"),
        sa.Column("name", sa.String(length=16), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("counted", "name", name=op.f("pk_tallies")),
    )
    op.execute(_FILL_STATES)
    op.execute("INSERT INTO tallies SELECT 'study', state, count(*) FROM studies GROUP BY state")
    op.execute("INSERT INTO tallies SELECT 'object', kind, count(*) FROM instances GROUP BY kind")
    op.execute("INSERT INTO tallies SELECT 'object', 'repeats', coalesce(sum(repeats), 0) FROM instances")
    if op.get_bind().dialect.name == "sqlite":
        for statement in _SQLITE:
            op.execute(statement)
    else:
        _only_on_postgresql()


def _only_on_postgresql() -> None:
    """Where lengths are enforced, none are: what a sender wrote must never keep an object out of the ledger."""
    for table in sa.inspect(op.get_bind()).get_table_names():
        if table == "alembic_version":
            continue
        for column in sa.inspect(op.get_bind()).get_columns(table):
            kind = column["type"]
            if isinstance(kind, sa.String) and kind.length is not None:
                op.alter_column(table, column["name"], type_=sa.Text())
    for wide, number in (("instances", "size_bytes"), ("documents", "size_bytes"), ("instances", "id"), ("events", "id")):
        op.alter_column(wide, number, type_=sa.BigInteger())
    for sequence in ("instances_id_seq", "events_id_seq"):
        op.execute(f"ALTER SEQUENCE {sequence} AS bigint")
    op.drop_index("uq_instances_one_content", "instances")
    op.create_index(
        "uq_instances_one_content", "instances", ["sop_instance_uid"], unique=True, postgresql_where=sa.text("kind IN ('ct', 'other')")
    )
    for statement in _POSTGRESQL:
        op.execute(statement)
    for table in _APPEND_ONLY:
        op.execute(f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION refuse_change()")


def _count(counted: str, name: str, by: str) -> str:
    return (
        f"INSERT INTO tallies (counted, name, count) VALUES ('{counted}', {name}, {by}) "  # noqa: S608 - constants of this file
        "ON CONFLICT (counted, name) DO UPDATE SET count = tallies.count + excluded.count"
    )


_REPEATS = "'repeats'"
_FOLLOW = "UPDATE studies SET state = NEW.state WHERE id = NEW.study_id AND latest_version = NEW.number AND state <> NEW.state"

_SQLITE = (
    f"CREATE TRIGGER versions_state_insert AFTER INSERT ON versions BEGIN {_FOLLOW}; END",
    f"CREATE TRIGGER versions_state_update AFTER UPDATE OF state ON versions BEGIN {_FOLLOW}; END",
    f"CREATE TRIGGER studies_tally_insert AFTER INSERT ON studies BEGIN {_count('study', 'NEW.state', '1')}; END",
    f"CREATE TRIGGER studies_tally_delete AFTER DELETE ON studies BEGIN {_count('study', 'OLD.state', '-1')}; END",
    f"CREATE TRIGGER studies_tally_update AFTER UPDATE OF state ON studies WHEN OLD.state <> NEW.state BEGIN "
    f"{_count('study', 'OLD.state', '-1')}; {_count('study', 'NEW.state', '1')}; END",
    f"CREATE TRIGGER instances_tally_insert AFTER INSERT ON instances BEGIN {_count('object', 'NEW.kind', '1')}; "
    f"{_count('object', _REPEATS, 'NEW.repeats')}; END",
    f"CREATE TRIGGER instances_tally_delete AFTER DELETE ON instances BEGIN {_count('object', 'OLD.kind', '-1')}; "
    f"{_count('object', _REPEATS, '-OLD.repeats')}; END",
    f"CREATE TRIGGER instances_tally_repeat AFTER UPDATE OF repeats ON instances BEGIN "
    f"{_count('object', _REPEATS, 'NEW.repeats - OLD.repeats')}; END",
    f"CREATE TRIGGER instances_tally_kind AFTER UPDATE OF kind ON instances WHEN OLD.kind <> NEW.kind BEGIN "
    f"{_count('object', 'OLD.kind', '-1')}; {_count('object', 'NEW.kind', '1')}; END",
)


def _function(name: str, body: str) -> str:
    return f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} RETURN NULL; END $$"


_POSTGRESQL = (
    "CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN RAISE EXCEPTION '% is append-only: enter a new row', TG_TABLE_NAME; END $$",
    _function("follow_version_state", f"{_FOLLOW};"),
    "CREATE TRIGGER versions_state AFTER INSERT OR UPDATE OF state ON versions FOR EACH ROW EXECUTE FUNCTION follow_version_state()",
    _function(
        "tally_studies",
        f"IF TG_OP <> 'INSERT' THEN {_count('study', 'OLD.state', '-1')}; END IF; "
        f"IF TG_OP <> 'DELETE' THEN {_count('study', 'NEW.state', '1')}; END IF;",
    ),
    "CREATE TRIGGER studies_tally AFTER INSERT OR DELETE OR UPDATE OF state ON studies FOR EACH ROW EXECUTE FUNCTION tally_studies()",
    _function(
        "tally_instances",
        f"IF TG_OP <> 'INSERT' THEN {_count('object', 'OLD.kind', '-1')}; {_count('object', _REPEATS, '-OLD.repeats')}; END IF; "
        f"IF TG_OP <> 'DELETE' THEN {_count('object', 'NEW.kind', '1')}; {_count('object', _REPEATS, 'NEW.repeats')}; END IF;",
    ),
    "CREATE TRIGGER instances_tally AFTER INSERT OR DELETE OR UPDATE OF kind, repeats ON instances "
    "FOR EACH ROW EXECUTE FUNCTION tally_instances()",
)

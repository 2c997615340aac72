"""The schema of a migrated database, and the SQL that removes its rows and leaves its tables.

A test must not notice that another one used its database. A database is used again only if its schema is what migration
makes, if it has no statistics, and if few rows must be removed; otherwise it is dropped.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "MOST_PAGES",
    "MOST_ROWS",
    "MYSQL_MARK",
    "MYSQL_SCHEMA",
    "MYSQL_TABLES",
    "MYSQL_VERSIONS",
    "POSTGRES_MARK",
    "POSTGRES_SCHEMA",
    "POSTGRES_TABLES",
    "SESSIONS_POSTGRES",
    "TIDB_MARK",
    "WIPE_POSTGRES",
    "Schema",
]

MOST_ROWS = 2000
"""A database with more rows is dropped: they leave traces in files and statistics."""
MOST_PAGES = 64
"""A table of PostgreSQL with more pages gets new files: it is not vacuumed, so what was deleted keeps its room."""


@dataclass(frozen=True)
class Schema:
    """All tables, columns, indexes, views, functions and settings of a database, and its versions."""

    tables: frozenset[str]
    digest: str


POSTGRES_TABLES = "SELECT coalesce(string_agg(tablename, ','), '') FROM pg_tables WHERE schemaname = 'public'"

POSTGRES_SCHEMA = """
    SELECT md5(string_agg(line, E'\\n' ORDER BY line)) FROM (
        SELECT format('relation %s %s %s', relname, relkind, reloptions) FROM pg_class
            WHERE relnamespace = 'public'::regnamespace
        UNION ALL
        SELECT format('column %s %s %s %s %s', attrelid::regclass, attnum, attname, attnotnull,
                format_type(atttypid, atttypmod))
            FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
            WHERE relnamespace = 'public'::regnamespace AND attnum > 0 AND NOT attisdropped
        UNION ALL
        SELECT format('default %s %s', adrelid::regclass, pg_get_expr(adbin, adrelid)) FROM pg_attrdef
        UNION ALL
        SELECT pg_get_indexdef(indexrelid) FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
            WHERE relnamespace = 'public'::regnamespace
        UNION ALL
        SELECT format('constraint %s %s', conname, pg_get_constraintdef(oid)) FROM pg_constraint
            WHERE connamespace = 'public'::regnamespace
        UNION ALL
        SELECT format('function %s %s', oid::regprocedure, prosrc) FROM pg_proc
            WHERE pronamespace = 'public'::regnamespace
        UNION ALL
        SELECT format('view %s %s', viewname, definition) FROM pg_views WHERE schemaname = 'public'
        UNION ALL
        SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
        UNION ALL
        SELECT format('schema %s', nspname) FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_%'
        UNION ALL
        SELECT format('statistics of %s', starelid::regclass) FROM pg_statistic
            JOIN pg_class ON pg_class.oid = starelid WHERE relnamespace = 'public'::regnamespace
        UNION ALL
        SELECT format('rows of %s are counted', oid::regclass) FROM pg_class
            WHERE relkind = 'r' AND reltuples >= 0 AND relnamespace = 'public'::regnamespace
        UNION ALL
        SELECT format('version %s', version) FROM romancy_schema
    ) AS lines (line)
"""

POSTGRES_MARK = """
    SELECT concat_ws(' ',
        (SELECT (count(*), max(xmin::text::bigint), count(*) FILTER (WHERE relkind = 'r' AND reltuples >= 0))
            FROM pg_class WHERE oid >= 16384),
        (SELECT (count(*), max(xmin::text::bigint)) FROM pg_attribute WHERE attrelid >= 16384),
        (SELECT (count(*), max(xmin::text::bigint)) FROM pg_attrdef),
        (SELECT (count(*), max(xmin::text::bigint)) FROM pg_index WHERE indexrelid >= 16384),
        (SELECT (count(*), max(xmin::text::bigint)) FROM pg_constraint WHERE oid >= 16384),
        (SELECT (count(*), max(xmin::text::bigint)) FROM pg_rewrite WHERE oid >= 16384),
        (SELECT (count(*), max(xmin::text::bigint)) FROM pg_trigger WHERE NOT tgisinternal),
        (SELECT (count(*), max(xmin::text::bigint)) FROM pg_proc WHERE oid >= 16384),
        (SELECT (count(*), max(xmin::text::bigint)) FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_%'),
        (SELECT count(*) FROM pg_statistic WHERE starelid >= 16384),
        (SELECT (count(*), max(xmin::text::bigint)) FROM romancy_schema))
"""
"""Differs from an earlier answer in the same database if anything that `POSTGRES_SCHEMA` shows was changed meanwhile:
every row of the catalogue has the number of the transaction that wrote it, and each number is higher than those before.
"""

WIPE_POSTGRES = """
    ALTER DATABASE {name} RESET ALL;
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid();
    DO $$
        DECLARE one text; removed bigint; total bigint := 0;
        BEGIN
            FOR one IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'romancy_schema'
            LOOP
                IF one = ANY (string_to_array('{tables}', ',')) THEN
                    IF pg_relation_size(quote_ident(one)::regclass) > {pages} * 8192 THEN
                        EXECUTE format('TRUNCATE %I', one);
                        CONTINUE;
                    END IF;
                    EXECUTE format('DELETE FROM %I', one);
                    GET DIAGNOSTICS removed = ROW_COUNT;
                    total := total + removed;
                ELSE
                    EXECUTE format('DROP TABLE %I CASCADE', one);
                END IF;
            END LOOP;
            IF total > {most} THEN
                RAISE EXCEPTION '% rows are too many to remove', total;
            END IF;
        END
    $$
"""

SESSIONS_POSTGRES = """
    SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
"""

MYSQL_TABLES = """
    SELECT table_name FROM information_schema.tables
    WHERE table_schema = database() AND table_type = 'BASE TABLE'
"""

MYSQL_VERSIONS = "SELECT version FROM romancy_schema ORDER BY 1"

MYSQL_SCHEMA = (
    (
        "SELECT default_character_set_name, default_collation_name FROM information_schema.schemata"
        " WHERE schema_name = database()"
    ),
    (
        "SELECT table_name, table_type, engine, row_format, table_collation, create_options"
        " FROM information_schema.tables WHERE table_schema = database() ORDER BY 1"
    ),
    (
        "SELECT table_name, ordinal_position, column_name, column_type, is_nullable, column_default, collation_name,"
        " generation_expression FROM information_schema.columns WHERE table_schema = database() ORDER BY 1, 2"
    ),
    (
        "SELECT table_name, index_name, seq_in_index, column_name, non_unique, sub_part"
        " FROM information_schema.statistics WHERE table_schema = database() ORDER BY 1, 2, 3"
    ),
    (
        "SELECT table_name, replace(view_definition, database(), '') FROM information_schema.views"
        " WHERE table_schema = database() ORDER BY 1"
    ),
    "SELECT routine_name FROM information_schema.routines WHERE routine_schema = database() ORDER BY 1",
    "SELECT trigger_name FROM information_schema.triggers WHERE trigger_schema = database() ORDER BY 1",
    MYSQL_VERSIONS,
)

MYSQL_MARK = r"""
    SHOW GLOBAL STATUS WHERE value <> '0' AND (
        variable_name LIKE 'Com\_create\_%' OR variable_name LIKE 'Com\_alter\_%' OR variable_name LIKE 'Com\_drop\_%'
        OR variable_name IN ('Com_rename_table', 'Com_analyze', 'Com_optimize')
    )
"""
"""Differs from an earlier answer of the same server if a statement changed a definition meanwhile, in any database."""

TIDB_MARK = "ADMIN SHOW DDL"
"""The same on TiDB: it tells the version of all schemas, and the last statement that changed one."""

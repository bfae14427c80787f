"""Every value that an alias ever had, noted by the database itself."""

from dataclasses import dataclass

from postgres import Postgres

_TRIGGER = """
CREATE TABLE IF NOT EXISTS seen_aliases (
    number serial, name text, alias text, version int, gate text, override text
);
CREATE OR REPLACE FUNCTION see_alias() RETURNS trigger AS $$
BEGIN
    INSERT INTO seen_aliases (name, alias, version, gate, override) VALUES (
        NEW.name, NEW.alias, NEW.version,
        (SELECT value FROM model_version_tags t WHERE t.name = NEW.name
            AND t.version = NEW.version AND t.key = 'chainsight.gate'),
        (SELECT value FROM model_version_tags t WHERE t.name = NEW.name
            AND t.version = NEW.version AND t.key = 'chainsight.override')
    );
    RETURN NEW;
END $$ LANGUAGE plpgsql;
CREATE OR REPLACE TRIGGER see_alias AFTER INSERT OR UPDATE ON registered_model_aliases
    FOR EACH ROW EXECUTE FUNCTION see_alias()
"""


@dataclass(frozen=True)
class Seen:
    """An alias came to a version, whose gate said so at that moment."""

    version: int
    gate: str | None
    override: str | None


def install(postgres: Postgres) -> None:
    postgres.execute(_TRIGGER)


def seen(postgres: Postgres, name: str, alias: str) -> list[Seen]:
    """In the order in which it happened."""
    rows = postgres.execute(
        "SELECT version, gate, override FROM seen_aliases WHERE name = %s AND alias = %s "
        "ORDER BY number",
        name,
        alias,
    )
    return [Seen(*row) for row in rows]

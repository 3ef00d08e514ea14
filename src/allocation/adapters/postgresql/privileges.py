"""Privileges on a table, handed on to the table that replaces it."""

from sqlalchemy import Connection, text

# Owner and grants are made the same, on the table and on its columns. Grants are made in the owner's name.
_STATEMENTS = text("""
    WITH given AS (
        SELECT oid AS relation, NULL AS of_column, relowner AS owner, acl.*
        FROM pg_class, aclexplode(relacl) AS acl
        WHERE oid IN (CAST(:giving AS regclass), CAST(:taking AS regclass))
        UNION ALL
        SELECT attrelid, '(' || quote_ident(attname) || ')', relowner, acl.*
        FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid, aclexplode(attacl) AS acl
        WHERE attrelid IN (CAST(:giving AS regclass), CAST(:taking AS regclass)) AND NOT attisdropped
    ), named AS (
        SELECT *, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE CAST(CAST(grantee AS regrole) AS text) END AS name
        FROM given
    )
    SELECT statement FROM (
        SELECT 1 AS step,
               format('ALTER TABLE %s OWNER TO %s', CAST(:taking AS text), CAST(relowner AS regrole))
               AS statement
        FROM pg_class
        WHERE oid = CAST(:giving AS regclass)
            AND relowner <> (SELECT relowner FROM pg_class WHERE oid = CAST(:taking AS regclass))
        UNION ALL
        SELECT DISTINCT 2, format('REVOKE ALL ON %s FROM %s', CAST(:taking AS text), name)
        FROM named WHERE relation = CAST(:taking AS regclass) AND grantee <> owner
        UNION ALL
        SELECT 3, format('GRANT %s%s ON %s TO %s%s', privilege_type, of_column, CAST(:taking AS text), name,
                         CASE WHEN is_grantable THEN ' WITH GRANT OPTION' END)
        FROM named WHERE relation = CAST(:giving AS regclass) AND grantee <> owner
    ) AS steps ORDER BY step
""")


def hand_over(connection: Connection, giving: str, taking: str) -> None:
    """Give the table `taking` the owner and the grants of the table `giving`; both names are SQL."""
    for statement in connection.scalars(_STATEMENTS, {"giving": giving, "taking": taking}).all():
        connection.exec_driver_sql(statement)

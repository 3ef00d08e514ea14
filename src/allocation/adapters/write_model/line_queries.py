"""Queries about order lines, none of which reads more rows than it needs.

Rows are looked up one by one: OFFSET 0 keeps the planner from reading a whole table instead.
"""

KNOWN_LINES = """
    SELECT line.*
    FROM json_populate_recordset(NULL::order_lines, %s) AS asked
    CROSS JOIN LATERAL (
        SELECT sku, id_commande, ligne, quantité, rang,
               (SELECT réf_lot FROM allocations AS a WHERE a.sku = l.sku AND a.rang = l.rang) AS réf_lot
        FROM order_lines AS l
        WHERE l.sku = asked.sku AND l.id_commande = asked.id_commande AND l.ligne = asked.ligne
        OFFSET 0
    ) AS line
"""
KNOWN_RUPTURES = """
    SELECT known.*
    FROM json_populate_recordset(NULL::ruptures, %s) AS asked
    CROSS JOIN LATERAL (
        SELECT sku, id_commande, ligne, quantité, quantité_disponible, version
        FROM ruptures AS r
        WHERE r.sku = asked.sku AND r.id_commande = asked.id_commande AND r.ligne = asked.ligne
        OFFSET 0
    ) AS known
"""
# The seniority from which on the newest lines of a lot, as few as possible, hold `units` or more. Each
# line holds at least one unit, so no more lines than units need to be looked at.
RANG_LIMITE = """
    WITH newest AS (
        SELECT l.rang, l.quantité
        FROM allocations AS a JOIN order_lines AS l ON l.sku = a.sku AND l.rang = a.rang
        WHERE a.sku = %(sku)s AND a.réf_lot = %(réf_lot)s
        ORDER BY - a.rang LIMIT %(units)s
    ), counted AS (
        SELECT rang, sum(quantité) OVER (ORDER BY rang DESC) - quantité AS newer_units FROM newest
    )
    SELECT min(rang) FROM counted WHERE newer_units < %(units)s
"""
# The limit is applied first: only the lines of the allocations within it are looked up.
LINES_FROM = """
    SELECT line.*
    FROM (
        SELECT sku, rang, réf_lot FROM allocations
        WHERE réf_lot = %(réf_lot)s AND sku = %(sku)s AND - rang <= - %(rang)s::bigint
        ORDER BY - rang DESC LIMIT %(limit)s
    ) AS a
    CROSS JOIN LATERAL (
        SELECT sku, id_commande, ligne, quantité, rang, a.réf_lot
        FROM order_lines AS l WHERE l.sku = a.sku AND l.rang = a.rang
        OFFSET 0
    ) AS line
"""

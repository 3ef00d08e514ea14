"""The same service as a good engineer would write it today without this program: what it is compared with.

FastAPI, pydantic and asyncpg; one transaction for each request, serialised by a lock on the product's row.
Where there is a choice, it is made in favour of this implementation: statements are prepared once for each
connection, one statement asks all that a transaction must know and another writes all of its rows, and an
answer is encoded without being validated again. It has neither projections nor a lock on its journal: reads
ask the write model, and nobody can follow the journal without missing what commits late.
"""

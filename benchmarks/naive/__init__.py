"""The chapter, taken at its word: what the program is compared with.

Flask, SQLAlchemy's ORM, a message bus with a queue of its own, one transaction for each command and another
for each event handler, an aggregate that loads all its lots with all their lines, a version number against
concurrent writers, and a read model that an event handler fills after the commit.

Where the chapter leaves a choice, it is made in favour of this implementation: `allocations_view` has an
index; each request has a bus and a unit of work of its own, as threads that share one would mix up their
transactions; and the event is not published to a broker, which costs a connection to another server.
As in the chapter, a command that loses against another writer is not tried again.
"""

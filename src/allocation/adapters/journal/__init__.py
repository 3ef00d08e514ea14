"""The journal of events: writing, reading and archiving it, and how far its readers have come."""

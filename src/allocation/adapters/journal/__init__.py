"""The journal of events: how it is written, read, archived, and how far its readers are."""

"""Reads driven by an event loop: many questions in one statement, and waiting without threads."""

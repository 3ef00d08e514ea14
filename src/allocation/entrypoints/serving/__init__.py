"""The processes of `allocation serve`, and their supervisor."""

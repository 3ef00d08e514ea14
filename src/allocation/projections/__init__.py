"""From the journal to the read models, and to whoever subscribes."""

"""The history of the schema, applied by `allocation migrate` and at every start."""

"""The HTTP interface: routes, what they take and give, and their refusals."""

"""The HTTP interface: routes, their requests and answers, and their refusals."""

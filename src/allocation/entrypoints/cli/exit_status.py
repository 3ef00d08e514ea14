"""The exit statuses of the commands."""

FAILED = 1
MISUSED = 2
# The command has done its work, but found something that needs attention.
ATTENTION = 3

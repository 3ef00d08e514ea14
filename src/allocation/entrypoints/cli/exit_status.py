"""What the exit status of a command says."""

FAILED = 1
MISUSED = 2
# The command has done its work, and found something that somebody should look at.
ATTENTION = 3

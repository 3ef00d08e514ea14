"""How the outside world comes in: HTTP, the command line, and the processes behind `allocation serve`."""

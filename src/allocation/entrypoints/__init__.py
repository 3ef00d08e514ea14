"""The ways into the program: HTTP, the command line, CSV files, and the processes of `allocation serve`."""

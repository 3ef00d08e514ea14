"""What the program does: commands and events through the message bus, one transaction each."""

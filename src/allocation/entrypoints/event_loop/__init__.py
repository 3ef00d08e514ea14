"""The driver of the routes on an event loop, which `allocation serve` runs."""

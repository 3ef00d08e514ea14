"""Brokers that take events to other programs."""

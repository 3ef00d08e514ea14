"""The read path: functions that run one SELECT and return what it gives."""

"""Notifications and trackers of a run, each in a process of its own."""

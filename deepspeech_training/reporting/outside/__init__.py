"""Who is told of a run outside of this machine: notifications and trackers, each by a process of its own."""

"""The loop, its schedule, its checkpoints and its devices. It knows `tasks.base.Task`, never a concrete task."""

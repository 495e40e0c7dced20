"""What differs between kinds of models; the engine knows `tasks.base.Task` alone."""

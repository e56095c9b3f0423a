"""Event to user code: handlers, interests, tasks."""

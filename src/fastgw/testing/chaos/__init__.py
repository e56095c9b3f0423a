"""A proxy that damages connections on purpose."""

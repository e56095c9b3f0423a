"""The gateway protocol without IO: states, signals, session, wire. Time comes in as `now`."""

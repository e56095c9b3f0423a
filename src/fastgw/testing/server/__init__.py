"""The fake gateway on loopback."""

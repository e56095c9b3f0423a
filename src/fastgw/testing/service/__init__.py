"""The service without IO: sessions, rules, the peer of a connection."""

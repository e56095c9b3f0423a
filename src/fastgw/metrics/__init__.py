"""
How a bot looks from outside: one JSON document, and what is made of it.

Owns the shape of the document (`document`), the verdicts on it (`verdict`), its form for
Prometheus (`prometheus`, which needs the extra `metrics`), the sum over processes (`gathering`),
and the thread that serves all of it (`endpoint`). Begin with `document`. A fleet or a supervisor
starts the endpoint.
"""

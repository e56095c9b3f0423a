"""
Benchmarks of fastgw against the clients that people use now: `pytest bench/ --benchmark-only`.

    streams     pre-encoded sessions: HELLO, READY, a prelude, then what is measured
    server      sends one session to one client; runs in its own process
    client      one entrant in a fresh process; prints the CPU that the measured part took
    entrants/   the clients compared, each with its real receive path
    floor/      the least that can be done, compiled: receive and decompress, nothing else
    comparison  rounds with the entrants interleaved, ratios to a baseline of the same run

docs/performance.md says how the figures are made and what they do not claim.
"""

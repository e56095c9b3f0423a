"""
How it is measured.

    streams     pre-encoded sessions: HELLO, READY, a prelude, then what is measured
    server      sends one session to one client; runs in its own process
    client      one entrant in a fresh process; prints the CPU that the measured part took
    meter       the clock in that process
    runner      starts both, and checks what the client counted
    inprocess   timed batches, for what needs no socket
    comparison  what is compared, and its results: rounds with the entrants interleaved
    replay      hands results to pytest-benchmark
    endtoend    the plan, as comparisons over compressions and TLS
"""

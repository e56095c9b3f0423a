"""
Benchmarks of fastgw against the clients that people use now: `pytest bench/ --benchmark-only`.

    plan        what is compared end to end, and what is promised: begin here
    entrants/   the clients compared, each with its real receive path
    floor/      the least that can be done, compiled: receive and decompress, nothing else
    test_*      the comparisons, as pytest-benchmark runs them; those without a socket say theirs
    rig/        how it is measured
    plot        a picture of a saved run

docs/performance.md says how the figures are made and what they do not claim.
"""

"""
What hundreds of connections in one process cost: memory, idling, traffic, an outage.

    python -m bench.many contexts    what a used decompression context holds
    python -m bench.many ready       1,024 shards come up and idle: time, memory, CPU
"""

"""
What hundreds of connections in one process cost: memory, idling, traffic, an outage.

    python -m bench.many contexts    what a used decompression context holds
"""

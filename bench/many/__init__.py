"""
What hundreds of connections in one process cost: memory, idling, traffic, an outage.

    python -m bench.many contexts    what a used decompression context holds
    python -m bench.many outage      all are cut, and nobody is let in for 40 s: by TCP, by 503
    python -m bench.many relief      memory after the start-up burst, and after its relief
    python -m bench.many ready       1,024 shards come up and idle: time, memory, CPU
    python -m bench.many traffic     CPU of an event beside that of a compiled listener (--help)
"""

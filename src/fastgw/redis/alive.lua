-- A process that holds turns is there. KEYS holder; ARGV ms
redis.call('SET', KEYS[1], '1', 'PX', ARGV[1])
return 1

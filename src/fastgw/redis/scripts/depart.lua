-- Be no member any more: others take what I give back from here on. KEYS member; ARGV me
return redis.call('ZREM', KEYS[1], ARGV[1])

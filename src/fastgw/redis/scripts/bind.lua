-- Say whose bot's keys these are, if nobody did.   KEYS bot   ARGV bot id
-- Returns whose they are.
redis.call('SET', KEYS[1], ARGV[1], 'NX')
return redis.call('GET', KEYS[1])

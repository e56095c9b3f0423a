-- Say that one member lives, and look at the table of all of them.
-- KEYS member (who -> deadline ms), who (who -> count and name), lease, owner, quiet
-- ARGV me, ms a member counts without a word, lease ms, my deadline as I was told last or 0, my count and name
-- Returns {deadline ms of me, ms to be quiet or less than 1, members, their counts and names,
--          shards with a lease, shard and owner in turn}
-- A deadline that I was told and that is not known is one that the server lost, and leases with it:
-- nobody takes a shard until those who have them could say so. Who was silent is no member any more,
-- but is known for a lease longer: a server that lost its memory may have been away meanwhile.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local me, till, told = ARGV[1], now + tonumber(ARGV[2]), tonumber(ARGV[4])
local since = now - tonumber(ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', since)
if told > since and tonumber(redis.call('ZSCORE', KEYS[1], me) or '0') < told then
  redis.call('SET', KEYS[5], '1', 'PX', ARGV[3])
end
local owners = redis.call('HGETALL', KEYS[4])
if told == 0 then -- a new one sweeps up what those left behind who are gone
  local there = {}
  for i = 2, #owners, 2 do there[owners[i]] = true end
  for _, one in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do there[one] = true end
  for _, one in ipairs(redis.call('HKEYS', KEYS[2])) do
    if not there[one] then redis.call('HDEL', KEYS[2], one) end
  end
end
redis.call('ZADD', KEYS[1], till, me)
redis.call('HSET', KEYS[2], me, ARGV[5])
local members = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. now, '+inf')
return {
  till, redis.call('PTTL', KEYS[5]), members, redis.call('HMGET', KEYS[2], unpack(members)),
  redis.call('ZRANGEBYSCORE', KEYS[3], '(' .. now, '+inf'), owners,
}

-- Renew one consumer's leases on the mailboxes of a group, and take free ones.
-- KEYS leases (shard -> deadline ms), owners (shard -> who), members (who -> deadline ms)
-- ARGV me, lease ms, shard...   Returns the shards that are mine now.
-- Each member takes its share of them, so that a new one finds some; who has more gives one back.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local me, till = ARGV[1], now + tonumber(ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now)
redis.call('ZADD', KEYS[3], till, me)
local want = math.ceil((#ARGV - 2) / redis.call('ZCARD', KEYS[3]))
local mine, free = {}, {}
for i = 3, #ARGV do
  local shard = ARGV[i]
  local owner = redis.call('HGET', KEYS[2], shard)
  if owner == me then
    table.insert(mine, shard)
  elseif not owner or tonumber(redis.call('ZSCORE', KEYS[1], shard) or '0') <= now then
    table.insert(free, shard)
  end
end
for _, shard in ipairs(free) do
  if #mine >= want then break end
  redis.call('HSET', KEYS[2], shard, me)
  table.insert(mine, shard)
end
for _, shard in ipairs(mine) do redis.call('ZADD', KEYS[1], till, shard) end
return {want, mine}

-- Become the only one who runs some shards.
-- KEYS lease (shard -> deadline ms), owner (shard -> who), who (who -> count and name), session, seq, seen
-- ARGV me, lease ms, shard count, my name, shard...
-- Returns {'taken', session or '', sequence or '', age ms or '', ...} or {'held', shard, name, count, ms}
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local me, lease_ms, count = ARGV[1], tonumber(ARGV[2]), ARGV[3]

local function held(shard)
  local owner = redis.call('HGET', KEYS[2], shard)
  local until_ms = tonumber(redis.call('ZSCORE', KEYS[1], shard) or 0)
  if not owner or owner == me or until_ms <= now then return nil end
  local who = cjson.decode(redis.call('HGET', KEYS[3], owner) or '{"count":"?","name":"another process"}')
  return {'held', shard, who.name, who.count, until_ms - now}
end

for i = 5, #ARGV do
  local taken = held(ARGV[i])
  if taken then return taken end
end
for _, shard in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. now, '+inf')) do
  local taken = held(shard)
  if taken and taken[4] ~= count then return {'count', shard, taken[3], taken[4], taken[5]} end
end
redis.call('HSET', KEYS[3], me, cjson.encode({count = count, name = ARGV[4]}))
local found = {'taken'}
for i = 5, #ARGV do
  local shard = ARGV[i]
  redis.call('ZADD', KEYS[1], now + lease_ms, shard)
  redis.call('HSET', KEYS[2], shard, me)
  local seen = redis.call('HGET', KEYS[6], shard)
  table.insert(found, redis.call('HGET', KEYS[4], shard) or '')
  table.insert(found, redis.call('HGET', KEYS[5], shard) or '')
  table.insert(found, seen and tostring(now - tonumber(seen)) or '')
end
return found

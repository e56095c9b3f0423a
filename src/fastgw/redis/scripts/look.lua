-- What one bot has in this server; nothing is changed.
-- KEYS lease, owner, who, seen, budget, log, turn, groups, about, owners
-- Returns {now ms, shards and ends of their leases, shards and owners, owners and who they are,
--          shards and when a sequence was stored, {total, remaining} or {}, names of groups,
--          number of shards that publishers said, shards that some publisher takes commands for}
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local said = redis.call('HMGET', KEYS[5], 'total', 'remaining', 'asked_at', 'reset_at')
local budget = {}
if said[1] then -- as attempt.lua reckons it
  local total, reset_at = tonumber(said[1]), tonumber(said[4])
  local since, left = math.max(now - 86400000, reset_at), total
  if now < reset_at then since, left = tonumber(said[3]), tonumber(said[2]) end
  left = left - redis.call('ZCOUNT', KEYS[6], since, '+inf')
  for _, text in ipairs(redis.call('HVALS', KEYS[7])) do
    if string.match(text, '|0$') then left = left - 1 end
  end
  budget = {total, math.max(0, left)}
end
return {
  now, redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES'), redis.call('HGETALL', KEYS[2]),
  redis.call('HGETALL', KEYS[3]), redis.call('HGETALL', KEYS[4]), budget,
  redis.call('HKEYS', KEYS[8]), redis.call('HGET', KEYS[9], 'shards') or '',
  redis.call('HKEYS', KEYS[10]),
}

-- Store what became of sessions of shards that are mine, and renew the leases of all of mine.
-- KEYS lease, owner, session, seq, seen, bot
-- ARGV me, lease ms, bot id or '', how many shards are mine, shard..., then four for each change:
--      shard, what ('new', 'seq', 'over'), session, sequence
-- Returns {'ok', shards that are another's now, shards of which the server had forgotten everything};
--      or {'bot', id}
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local me, lease_ms, bot, mine = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
if bot ~= '' then
  local bound = redis.call('GET', KEYS[6])
  if bound and bound ~= bot then return {'bot', bound} end
  if not bound then redis.call('SET', KEYS[6], bot) end
end
local lost, anew = {}, {}
for i = 5, 4 + mine do
  local shard = ARGV[i]
  local owner = redis.call('HGET', KEYS[2], shard)
  if owner and owner ~= me then
    table.insert(lost, shard)
  else
    redis.call('ZADD', KEYS[1], now + lease_ms, shard)
    if not owner then
      redis.call('HSET', KEYS[2], shard, me)
      table.insert(anew, shard)
    end
  end
end
for i = 5 + mine, #ARGV, 4 do
  local shard, what, session, seq = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  if redis.call('HGET', KEYS[2], shard) == me then
    if what == 'over' then
      redis.call('HDEL', KEYS[3], shard)
      redis.call('HDEL', KEYS[4], shard)
      redis.call('HDEL', KEYS[5], shard)
    else
      if session ~= '' then redis.call('HSET', KEYS[3], shard, session) end
      local stored = tonumber(redis.call('HGET', KEYS[4], shard) or '0')
      if session ~= '' or tonumber(seq) > stored then redis.call('HSET', KEYS[4], shard, seq) end
      redis.call('HSET', KEYS[5], shard, string.format('%d', now))
    end
  end
end
return {'ok', lost, anew}

-- Say which shards one process takes commands for.
-- KEYS owners (shard -> who), about, alive:me
-- ARGV me, alive ms, 'alive:' prefix, shard count, intents, shard...
-- A shard that another living process takes commands for stays with it until it lets go.
redis.call('SET', KEYS[3], '1', 'PX', ARGV[2])
redis.call('HSET', KEYS[2], 'shards', ARGV[4], 'intents', ARGV[5])
local wanted = {}
for i = 6, #ARGV do wanted[ARGV[i]] = true end
local flat = redis.call('HGETALL', KEYS[1])
for i = 1, #flat, 2 do
  local shard, who = flat[i], flat[i + 1]
  if who == ARGV[1] then
    if not wanted[shard] then redis.call('HDEL', KEYS[1], shard) end
    wanted[shard] = nil
  elseif wanted[shard] and redis.call('EXISTS', ARGV[3] .. who) == 1 then
    wanted[shard] = nil
  end
end
for shard in pairs(wanted) do redis.call('HSET', KEYS[1], shard, ARGV[1]) end
return 1

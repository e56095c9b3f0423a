-- Leave a command for the process that has a shard.
-- KEYS owners, about   ARGV shard, shard count or '' (any), 'alive:' prefix, 'orders:' prefix,
--      most that may wait, ms that it may take, ms for which orders are kept, id, kind, body, key of the answer
-- Returns who has it. Errors: NOBODY has that shard; COUNT n, the bot has another number of them;
-- FULL, too many wait.
local count = redis.call('HGET', KEYS[2], 'shards')
if not count then return redis.error_reply('NOBODY') end
if ARGV[2] ~= '' and ARGV[2] ~= count then return redis.error_reply('COUNT ' .. count) end
local who = redis.call('HGET', KEYS[1], ARGV[1])
if not who or redis.call('EXISTS', ARGV[3] .. who) == 0 then return redis.error_reply('NOBODY') end
local orders = ARGV[4] .. who
if redis.call('XLEN', orders) >= tonumber(ARGV[5]) then return redis.error_reply('FULL') end
redis.call('XADD', orders, '*', 'shard', ARGV[1], 'ms', ARGV[6], 'id', ARGV[8], 'kind', ARGV[9],
  'body', ARGV[10], 'answer', ARGV[11])
redis.call('PEXPIRE', orders, ARGV[7])
return who

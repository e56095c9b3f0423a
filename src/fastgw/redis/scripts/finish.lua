-- Remove entries that are handled, and take their bytes off, of each once.
-- KEYS the shard's hash, held (group -> bytes), mailbox
-- ARGV group, id of the last entry that was handed out, then for each: id, bytes
redis.call('HSET', KEYS[1], 'handed:' .. KEYS[3], ARGV[2])
local freed = 0
for i = 3, #ARGV, 2 do
  if redis.call('XDEL', KEYS[3], ARGV[i]) == 1 then freed = freed + tonumber(ARGV[i + 1]) end
end
if freed > 0 then
  redis.call('HINCRBY', KEYS[1], 'bytes:' .. KEYS[3], -freed)
  redis.call('HINCRBY', KEYS[2], ARGV[1], -freed)
end
return freed

-- Acknowledge and remove entries that are handled, each once; take their bytes off.
-- KEYS the shard's hash, held (group -> bytes), mailbox   ARGV group, then for each: id, bytes
local freed = 0
for i = 2, #ARGV, 2 do
  redis.call('XACK', KEYS[3], ARGV[1], ARGV[i])
  if redis.call('XDEL', KEYS[3], ARGV[i]) == 1 then freed = freed + tonumber(ARGV[i + 1]) end
end
if freed > 0 then
  redis.call('HINCRBY', KEYS[1], 'bytes:' .. KEYS[3], -freed)
  redis.call('HINCRBY', KEYS[2], ARGV[1], -freed)
end
return freed

-- Say to groups that events of a session may be missing, which goes on.
-- KEYS the shard's hash, mailbox...   ARGV claim, epoch
-- Nothing is said in a mailbox that has entries of the session, nor by a writer that was followed.
if redis.call('HGET', KEYS[1], 'claim') ~= ARGV[1] then return 0 end
local t = redis.call('TIME')
local now = string.format('%.0f', t[1] * 1000 + math.floor(t[2] / 1000))
for i = 2, #KEYS do
  redis.pcall('XADD', KEYS[i], ARGV[2] .. '-0', 't', 'SESSION_RESET', 'd', '{}', 'r', now)
end
return 1

-- Become the one writer of a shard's mailboxes, for a session.
-- KEYS the shard's hash, mailbox...   ARGV session id, fields of SESSION_RESET: name, data
-- Returns {claim, epoch, sequence}: a session that is known goes on behind its sequence, any other is
-- a new epoch, whose first entry says that there is a hole.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local old = redis.call('HMGET', KEYS[1], 'claim', 'epoch', 'session', 'seq')
local claim = string.format('%.0f', math.max(now, tonumber(old[1] or '0') + 1))
redis.call('HSET', KEYS[1], 'claim', claim)
if old[3] == ARGV[1] then return {claim, old[2], old[4]} end
local epoch = string.format('%.0f', math.max(now, tonumber(old[2] or '0') + 1))
redis.call('HSET', KEYS[1], 'epoch', epoch, 'session', ARGV[1], 'seq', '0')
for i = 2, #KEYS do
  redis.call('XADD', KEYS[i], epoch .. '-0', 't', 'SESSION_RESET', 'd', '{}')
end
return {claim, epoch, '0'}

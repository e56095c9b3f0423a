-- Become the one writer of a shard's mailboxes, for a session.
-- KEYS the shard's hash, mailbox...   ARGV session id, the epoch that it had before, 0 for none,
--      until when this may be done, ms
-- Returns {claim, epoch, sequence}: a session that is known goes on behind its sequence; any other
-- is an epoch whose first entry, SESSION_RESET, says that there may be a hole: the one that it had
-- before this server lost it, so that its events come again under their ids, or else a new one.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
-- Heard late: its shard may be another process's by now, which this would fence.
if now > tonumber(ARGV[3]) then return redis.error_reply('LATE') end
local old = redis.call('HMGET', KEYS[1], 'claim', 'epoch', 'session', 'seq')
local claim = string.format('%.0f', math.max(now, tonumber(old[1] or '0') + 1))
redis.call('HSET', KEYS[1], 'claim', claim)
if old[3] == ARGV[1] then return {claim, old[2], old[4]} end
local top = tonumber(old[2] or '0')
for i = 2, #KEYS do -- somebody may have removed the hash, or the clock may have gone back
  if redis.call('EXISTS', KEYS[i]) == 1 then
    local info = redis.call('XINFO', 'STREAM', KEYS[i])
    for at = 1, #info, 2 do
      if info[at] == 'last-generated-id' then
        top = math.max(top, tonumber(string.match(info[at + 1], '^%d+')))
      end
    end
  end
end
local epoch = ARGV[2]
if tonumber(epoch) <= top then epoch = string.format('%.0f', math.max(now, top + 1)) end
redis.call('HSET', KEYS[1], 'epoch', epoch, 'session', ARGV[1], 'seq', '0')
for i = 2, #KEYS do
  redis.call('XADD', KEYS[i], epoch .. '-0', 't', 'SESSION_RESET', 'd', '{}', 'r', string.format('%.0f', now))
end
return {claim, epoch, '0'}

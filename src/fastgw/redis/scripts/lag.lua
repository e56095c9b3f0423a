-- How far a group is behind.   KEYS for each shard: its hash, the group's mailbox
-- Returns for each shard, in turn: entries, bytes, events that were lost and not told of, the id of
-- the first entry or '', its age in ms or -1.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local found = {}
for i = 1, #KEYS, 2 do
  local counts = redis.call('HMGET', KEYS[i], 'bytes:' .. KEYS[i + 1], 'lost:' .. KEYS[i + 1])
  local first, age = redis.call('XRANGE', KEYS[i + 1], '-', '+', 'COUNT', 1)[1], -1
  local values = first and first[2] or {}
  for at = 1, #values, 2 do
    if values[at] == 'r' then age = math.max(0, now - tonumber(values[at + 1])) end
  end
  table.insert(found, redis.call('XLEN', KEYS[i + 1]))
  table.insert(found, first and tonumber(counts[1] or '0') or 0)
  table.insert(found, tonumber(counts[2] or '0'))
  table.insert(found, first and first[1] or '')
  table.insert(found, age)
end
return found

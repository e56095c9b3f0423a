-- Append events of one session to the mailboxes of the groups that want them, each once, in order.
-- KEYS the shard's hash, mailbox...
-- ARGV claim, epoch, expected sequence, most entries of a mailbox, then for each event: sequence,
--      mask of mailboxes, name, data
-- Returns the sequence that is stored now. Errors: FENCED, somebody else writes; GONE, the server
-- lost this writer's claim; TAIL n, it lost appended events behind n.
local state = redis.call('HMGET', KEYS[1], 'claim', 'epoch', 'seq')
local claim, epoch = tonumber(state[1] or '0'), tonumber(state[2] or '0')
if claim > tonumber(ARGV[1]) or epoch > tonumber(ARGV[2]) then
  return redis.error_reply('FENCED by ' .. string.format('%.0f', claim))
end
if claim < tonumber(ARGV[1]) or epoch < tonumber(ARGV[2]) then
  return redis.error_reply('GONE')
end
local tail = tonumber(state[3])
if tail < tonumber(ARGV[3]) then return redis.error_reply('TAIL ' .. state[3]) end
local cap, last = tonumber(ARGV[4]), state[3]
local length, lost = {}, {}
for i = 2, #KEYS do
  length[i] = redis.call('XLEN', KEYS[i])
  lost[i] = tonumber(redis.call('HGET', KEYS[1], 'lost:' .. KEYS[i]) or '0')
end
local before = {unpack(lost, 2, #KEYS)}
for at = 5, #ARGV, 4 do
  local seq, mask = ARGV[at], tonumber(ARGV[at + 1])
  if tonumber(seq) > tail then
    local id = ARGV[2] .. '-' .. seq
    for i = 2, #KEYS do
      if bit.band(mask, bit.lshift(1, i - 2)) ~= 0 then
        if length[i] >= cap then
          lost[i] = lost[i] + 1
        elseif lost[i] > 0 then
          redis.call('XADD', KEYS[i], id, 't', ARGV[at + 2], 'd', ARGV[at + 3], 'l', lost[i])
          lost[i], length[i] = 0, length[i] + 1
        else
          redis.call('XADD', KEYS[i], id, 't', ARGV[at + 2], 'd', ARGV[at + 3])
          length[i] = length[i] + 1
        end
      end
    end
    last, tail = seq, tonumber(seq) -- a sequence that comes twice is one event
  end
end
for i = 2, #KEYS do
  if lost[i] ~= before[i - 1] then redis.call('HSET', KEYS[1], 'lost:' .. KEYS[i], lost[i]) end
end
if last ~= state[3] then redis.call('HSET', KEYS[1], 'seq', last) end
return tonumber(last)

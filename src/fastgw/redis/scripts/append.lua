-- Append events of one session to the mailboxes of the groups that want them, each once, in order.
-- KEYS the shard's hash, held (group -> bytes in its mailboxes), mailbox...
-- ARGV claim, epoch, expected sequence, most entries of a mailbox, most bytes of a group, then for
--      each event: sequence, mask of mailboxes, name, data; data is '' of one that is too big
-- Returns the sequence that is stored now; where something did not fit, with it how many of these
-- events each mailbox lost to its bounds, in turn. Entries carry the server's time, ms. Errors: FENCED, somebody else writes; GONE, the server
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
local cap, most, last = tonumber(ARGV[4]), tonumber(ARGV[5]), state[3]
local OVERHEAD = 48 -- of an entry; the consumer reckons with the same
local t = redis.call('TIME')
local now = string.format('%.0f', t[1] * 1000 + math.floor(t[2] / 1000))
local boxes, is_full = {}, false
for i = 3, #KEYS do
  local box = {key = KEYS[i], full = 0, group = string.match(KEYS[i], ':mailbox:(.*):%d+$')}
  local counts = redis.call('HMGET', KEYS[1], 'lost:' .. box.key, 'bytes:' .. box.key)
  box.lost, box.bytes = tonumber(counts[1] or '0'), tonumber(counts[2] or '0')
  box.held = tonumber(redis.call('HGET', KEYS[2], box.group) or '0')
  box.length = redis.call('XLEN', box.key)
  box.was_lost, box.was = box.lost, box.bytes
  if box.length == 0 then box.held, box.bytes = box.held - box.bytes, 0 end -- whoever emptied it
  boxes[i - 2] = box
end
for at = 6, #ARGV, 4 do
  local seq, mask, name, data = ARGV[at], tonumber(ARGV[at + 1]), ARGV[at + 2], ARGV[at + 3]
  if tonumber(seq) > tail then
    local id, size = ARGV[2] .. '-' .. seq, #name + #data + OVERHEAD
    for i, box in ipairs(boxes) do
      if bit.band(mask, bit.lshift(1, i - 1)) ~= 0 then
        if data == '' or box.length >= cap or box.held + size > most then
          box.lost = box.lost + 1
          if data ~= '' then box.full, is_full = box.full + 1, true end
        else
          if box.lost > 0 then
            redis.call('XADD', box.key, id, 't', name, 'd', data, 'r', now, 'l', box.lost)
            box.lost = 0
          else
            redis.call('XADD', box.key, id, 't', name, 'd', data, 'r', now)
          end
          box.length, box.bytes, box.held = box.length + 1, box.bytes + size, box.held + size
        end
      end
    end
    last, tail = seq, tonumber(seq) -- a sequence that comes twice is one event
  end
end
for _, box in ipairs(boxes) do
  if box.lost ~= box.was_lost then redis.call('HSET', KEYS[1], 'lost:' .. box.key, box.lost) end
  if box.bytes ~= box.was then
    redis.call('HSET', KEYS[1], 'bytes:' .. box.key, box.bytes)
    redis.call('HSET', KEYS[2], box.group, box.held)
  end
end
if last ~= state[3] then redis.call('HSET', KEYS[1], 'seq', last) end
if not is_full then return tonumber(last) end
local answer = {tonumber(last)}
for _, box in ipairs(boxes) do table.insert(answer, box.full) end
return answer

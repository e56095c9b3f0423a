-- A process that holds turns is there, and what is held in its name for an attempt that is over ends:
-- it counts as written now, as nobody knows whether it was.
-- KEYS turn, free, log, holder; ARGV holder, alive ms, interval ms with padding, the last attempt that
-- it made when it said this (it may be heard late), then those that wait or hold
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('SET', KEYS[4], '1', 'PX', ARGV[2])
local live = {}
for i = 5, #ARGV do live[ARGV[i]] = true end
local flat = redis.call('HGETALL', KEYS[1])
for i = 1, #flat, 2 do
  local holder, attempt, _, written = string.match(flat[i + 1], '(.-)|(%d+)|(%d+)|(%d)')
  if holder == ARGV[1] and not live[attempt] and tonumber(attempt) <= tonumber(ARGV[4]) then
    if written == '0' then
      redis.call('ZADD', KEYS[3], now, holder .. ':' .. attempt)
      redis.call('HSET', KEYS[2], flat[i], string.format('%d', now + tonumber(ARGV[3])))
    end
    redis.call('HDEL', KEYS[1], flat[i])
  end
end
return 1

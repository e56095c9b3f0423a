-- What becomes of a turn. KEYS turn, free, log; ARGV holder, attempt, 'written', 'release' or 'late' (released, and
-- it is not known here that it was written), interval ms
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local flat = redis.call('HGETALL', KEYS[1])
for i = 1, #flat, 2 do
  local holder, attempt, until_ms, written = string.match(flat[i + 1], '(.-)|(%d+)|(%d+)|(%d)')
  if holder == ARGV[1] and attempt == ARGV[2] then
    if ARGV[3] == 'written' then
      redis.call('ZADD', KEYS[3], now, holder .. ':' .. attempt)
      redis.call('HSET', KEYS[2], flat[i], string.format('%d', now + tonumber(ARGV[4])))
      redis.call('HSET', KEYS[1], flat[i], string.format('%s|%s|%s|1', holder, attempt, until_ms))
    else
      if ARGV[3] == 'late' and written == '0' then
        redis.call('ZADD', KEYS[3], now, holder .. ':' .. attempt)
        redis.call('HSET', KEYS[2], flat[i], string.format('%d', now + tonumber(ARGV[4])))
      end
      redis.call('HDEL', KEYS[1], flat[i])
    end
    return 1
  end
end
return 0

-- Give an identify turn, or say how long to wait, or that the day's identifies are spent.
-- KEYS turn (shard -> holder|attempt|until|written), free (shard -> ms), log (zset of writes), budget, my holder
-- ARGV shard, holder, attempt, max_concurrency or '', interval ms with padding, look ms, reserve or '',
--      hold ms, alive ms, prefix of the keys of holders
-- Returns {what, ms, max_concurrency, total, remaining, reserve, ms until free or ''}
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local DAY = 86400000
redis.call('SET', KEYS[5], '1', 'PX', ARGV[9])
local budget = redis.call('HMGET', KEYS[4], 'max_concurrency', 'total', 'remaining', 'asked_at', 'reset_at')
local keys = math.max(1, tonumber(ARGV[4] ~= '' and ARGV[4] or budget[1] or 1))
local key = tonumber(ARGV[1]) % keys

local function is_dead(holder, until_ms)
  return until_ms <= now or redis.call('EXISTS', ARGV[10] .. holder) == 0
end

-- What the dead hold counts as written now: nobody knows whether it was. And this attempt may have
-- its turn already: then the answer that said so was lost.
local held, has_it = 0, false
local is_held = false
local turns = redis.call('HGETALL', KEYS[1])
for i = 1, #turns, 2 do
  local shard = turns[i]
  local holder, attempt, until_ms, written = string.match(turns[i + 1], '(.-)|(%d+)|(%d+)|(%d)')
  if is_dead(holder, tonumber(until_ms)) then
    redis.call('HDEL', KEYS[1], shard)
    if written == '0' then
      redis.call('ZADD', KEYS[3], now, holder .. ':' .. attempt)
      redis.call('HSET', KEYS[2], shard, string.format('%d', now + tonumber(ARGV[5])))
    end
  else
    is_held = is_held or tonumber(shard) % keys == key
    if written == '0' then
      held = held + 1
      has_it = has_it or (holder == ARGV[2] and attempt == ARGV[3])
    end
  end
end

-- By shard, not by key: how many keys there are may change at any time.
local free_at = 0
local frees = redis.call('HGETALL', KEYS[2])
for i = 1, #frees, 2 do
  local at = tonumber(frees[i + 1])
  if at <= now then
    redis.call('HDEL', KEYS[2], frees[i])
  elseif tonumber(frees[i]) % keys == key then
    free_at = math.max(free_at, at)
  end
end

redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now - DAY)
local total = tonumber(budget[2] or 1000)
local asked_at, reset_at = tonumber(budget[4] or 0), tonumber(budget[5] or 0)
local remaining, since
if budget[2] and now < reset_at then
  since = asked_at
  remaining = tonumber(budget[3]) - redis.call('ZCOUNT', KEYS[3], since, '+inf')
else
  since = math.max(now - DAY, reset_at)
  remaining = total - redis.call('ZCOUNT', KEYS[3], since, '+inf')
end
remaining = math.max(0, remaining - held)
local reserve = ARGV[7] ~= '' and tonumber(ARGV[7]) or math.min(math.max(50, math.floor(total / 20)), math.floor(total / 2))
local free_in = ''
if remaining <= reserve then
  if budget[2] and now < reset_at then
    free_in = reset_at - now
  else
    local oldest = redis.call('ZRANGEBYSCORE', KEYS[3], since, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
    free_in = (oldest[2] and tonumber(oldest[2]) or now) + DAY - now
  end
end

local function answer(what, ms, left)
  return {what, math.ceil(ms), keys, total, left, reserve, tostring(free_in)}
end

if has_it then return answer('given', 0, remaining) end
if is_held then return answer('wait', math.max(tonumber(ARGV[6]), free_at - now), remaining) end
if free_at > now then return answer('wait', free_at - now, remaining) end
if remaining <= reserve then return answer('spent', free_in, remaining) end
redis.call('HSET', KEYS[1], ARGV[1], string.format('%s|%s|%d|0', ARGV[2], ARGV[3], now + tonumber(ARGV[8])))
return answer('given', 0, remaining - 1)

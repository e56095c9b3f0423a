-- Take the API's answer about the day's identifies.
-- KEYS budget, log; ARGV bot id or '', max_concurrency, total, remaining, reset ms, age ms of the answer, fresh or ''
-- Returns {'bot', id} of another bot's, else {'ok'}
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local DAY = 86400000
local old = redis.call('HMGET', KEYS[1], 'bot', 'total', 'remaining', 'asked_at', 'reset_at')
if ARGV[1] ~= '' and old[1] and old[1] ~= ARGV[1] then return {'bot', old[1]} end
local asked_at = now - tonumber(ARGV[6])
local remaining = tonumber(ARGV[4])
local reset_at = asked_at + math.min(tonumber(ARGV[5]), DAY)
if ARGV[7] == '' then
  local old_reset = tonumber(old[5] or 0)
  local ours
  local before = string.format('(%d', asked_at) -- what was written since counts from now on
  if old[2] and asked_at < old_reset then
    reset_at = math.min(reset_at, old_reset)
    ours = tonumber(old[3]) - redis.call('ZCOUNT', KEYS[2], tonumber(old[4]), before)
  else
    ours = tonumber(ARGV[3]) - redis.call('ZCOUNT', KEYS[2], math.max(asked_at - DAY, old_reset), before)
  end
  remaining = math.min(remaining, ours)
end
redis.call('HSET', KEYS[1], 'max_concurrency', ARGV[2], 'total', ARGV[3],
  'remaining', string.format('%d', remaining), 'asked_at', string.format('%d', asked_at),
  'reset_at', string.format('%d', reset_at))
if ARGV[1] ~= '' then redis.call('HSET', KEYS[1], 'bot', ARGV[1]) end
return {'ok'}

-- Say what a group of consumers wants.
-- KEYS groups, version, era   ARGV group, wanted, a word that nobody used before
-- A server that lost its memory counts anew, under another era; one that lost the last of it goes
-- on above what it may have said before, as the version is a time.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('SET', KEYS[3], ARGV[3], 'NX')
local version = math.max(now, tonumber(redis.call('GET', KEYS[2]) or '0') + 1)
redis.call('SET', KEYS[2], string.format('%.0f', version))
return 1

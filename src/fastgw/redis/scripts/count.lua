-- How many shards the bot has, if a process that takes commands for some of them lives; else ''.
-- KEYS about, owners   ARGV 'alive:' prefix
for _, who in ipairs(redis.call('HVALS', KEYS[2])) do
  if redis.call('EXISTS', ARGV[1] .. who) == 1 then
    return redis.call('HGET', KEYS[1], 'shards') or ''
  end
end
return ''

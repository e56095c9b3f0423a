-- Give mailboxes back, if they are still mine.
-- KEYS leases, owners, members   ARGV me, '1' to leave the group as well, shard...
for i = 3, #ARGV do
  if redis.call('HGET', KEYS[2], ARGV[i]) == ARGV[1] then
    redis.call('HDEL', KEYS[2], ARGV[i])
    redis.call('ZREM', KEYS[1], ARGV[i])
  end
end
if ARGV[2] == '1' then redis.call('ZREM', KEYS[3], ARGV[1]) end
return 1

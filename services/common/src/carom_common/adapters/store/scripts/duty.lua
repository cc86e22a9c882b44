-- Takes or keeps a background duty for one process, or gives it up (lease_ms 0).
-- KEYS[1] carom:duty:<name>. ARGV: token of the process, lease_ms. Replies 1 when it is this process's, else 0.
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then
  -- The clock went back since: nobody would have the duty of who died with it for as long as that.
  if ARGV[2] ~= '0' then redis.call('PEXPIRE', KEYS[1], ARGV[2], 'LT') end
  return 0
end
if ARGV[2] == '0' then
  if holder then redis.call('DEL', KEYS[1]) end
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1

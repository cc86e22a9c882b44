-- Records an accepted job as queued, or scheduled when it has an eta, unless an executor was faster.
-- ARGV: job, eta, birth, keep_until. Replies 1, or for a record that exists 0, or 2 when it is final already.
local status = redis.call('HGET', state, 'status')
if status then return is_final(status) and 2 or 0 end
rebuild(ARGV[1], 1, 0, ARGV[2], ARGV[3], '[]')
keep_until(ARGV[4])
return 1

-- Records an accepted job as queued, unless an executor was faster.
-- ARGV: job, created, keep_until
if redis.call('EXISTS', state) == 1 then return 0 end
rebuild(ARGV[1], 1, 0, ARGV[2], '[]')
keep_until(ARGV[3])
return 1

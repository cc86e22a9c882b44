-- Makes the record of a dead letter whose job the store does not know (any more); one that is there wins.
-- ARGV: generation, attempts, birth, keep_until, job, history, status, completed, error, reason, dead (0 | 1),
--       callback (none | failed), callback_generation, callback_attempt, callback_error
-- Replies 1, or 0 when there is a record.
if redis.call('EXISTS', state) == 1 then return 0 end
rebuild(ARGV[5], ARGV[1], ARGV[2], '0', ARGV[3], ARGV[6])
set('status', ARGV[7], 'completed', ARGV[8], 'updated', ARGV[8], 'error', ARGV[9], 'dead', ARGV[11], 'callback', ARGV[12])
if ARGV[10] ~= '' then set('reason', ARGV[10]) end
if ARGV[12] == 'failed' then
  set('callback_dead', '1', 'callback_generation', ARGV[13], 'callback_attempt', ARGV[14], 'callback_error', ARGV[15])
end
keep_until(ARGV[4])
return 1

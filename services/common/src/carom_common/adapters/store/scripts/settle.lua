-- Records the outcome of an attempt, unless another delivery has claimed it since. No claim at all is no reason to
-- refuse: the store may have lost it, and the owner is then whoever settled the attempt before.
-- An outcome without a call (expired) has an empty entry and counts no attempt.
-- ARGV: now, generation, attempt, message_id, owner, keep_until, birth, job, history,
--       status, eta, error, dead (0 | 1), callback (0 | 1), reason, entry
-- Replies 'ok' | 'refused' | 'unknown' (call again with the job)
local generation, attempt = tonumber(ARGV[2]), tonumber(ARGV[3])
local r = get('generation', 'attempt', 'settled_by', 'owner', 'lease', 'status', 'reason', 'stale_until')
local known, settled = tonumber(r[1]), tonumber(r[2])
local called = ARGV[16] ~= ''

if known and generation == known and r[3] == ARGV[4] and r[4] == ARGV[5] then
  if attempt == settled or (not called and attempt == settled + 1 and is_final(r[6])) then return 'ok' end
end
if known and (generation < known or (generation == known and (attempt <= settled or is_final(r[6])))) then return 'refused' end
if not known or generation > known or attempt > settled + 1 then
  if ARGV[8] == '' then return 'unknown' end
  rebuild(ARGV[8], generation, attempt - 1, '0', ARGV[7], ARGV[9])
elseif r[4] ~= ARGV[5] and (r[5] or '0') ~= '0' then
  return 'refused'
end
local fields = {'status', ARGV[10], 'settled_by', ARGV[4], 'owner', ARGV[5], 'lease', '0', 'claims', '0',
  'updated', ARGV[1], 'eta', ARGV[11], 'error', ARGV[12]}
if called then
  redis.call('RPUSH', log, ARGV[16])
  add(fields, 'attempt', attempt)
end
if ARGV[15] ~= '' then
  add(fields, 'reason', ARGV[15])
elseif r[7] then
  redis.call('HDEL', state, 'reason')
end
if ARGV[11] == '0' then
  add(fields, 'completed', ARGV[1])
  add(fields, 'dead', ARGV[13])
  add(fields, 'callback', ARGV[14] == '1' and 'pending' or 'none')
end
set(unpack(fields))
keep_until(ARGV[6], r[8])
return 'ok'

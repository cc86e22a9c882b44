-- Records the outcome of an attempt to call back, unless another delivery has claimed it since (see settle.lua).
-- ARGV: generation, callback_generation, callback_attempt, message_id, owner, keep_until, status, eta, error, dead (0 | 1)
-- Replies 'ok' | 'refused' | 'unknown' (the record is gone or behind: claim again, then settle)
local generation, cgeneration, cattempt = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local r = get('generation', 'callback_generation', 'callback_attempt', 'callback_settled_by', 'callback_owner',
  'callback_lease', 'status', 'stale_until')
local known = tonumber(r[1])
if not known or generation > known or (generation == known and not is_final(r[7])) then return 'unknown' end
local g, settled = tonumber(r[2] or '1'), tonumber(r[3] or '0')
if generation == known and cgeneration == g and cattempt == settled and r[4] == ARGV[4] and r[5] == ARGV[5] then return 'ok' end
if generation < known or cgeneration < g or (cgeneration == g and cattempt <= settled) then return 'refused' end
if r[5] ~= ARGV[5] and (r[6] or '0') ~= '0' then return 'refused' end
set('callback', ARGV[7], 'callback_generation', cgeneration, 'callback_attempt', cattempt,
  'callback_settled_by', ARGV[4], 'callback_lease', '0', 'callback_claims', '0', 'callback_eta', ARGV[8], 'callback_error', ARGV[9], 'callback_dead', ARGV[10])
keep_until(ARGV[6], r[8])
return 'ok'

-- Records an attempt to tell an attempt's outcome, unless another delivery has claimed it since.
-- ARGV: callback_attempt, message_id, owner, keep_until, status, eta, error. Replies 'ok' | 'refused'
local cattempt = tonumber(ARGV[1])
local r = get('attempt', 'settled_by', 'owner', 'lease')
local settled = tonumber(r[1] or '0')
if cattempt == settled and r[2] == ARGV[2] and r[3] == ARGV[3] then return 'ok' end
if cattempt <= settled or (r[3] ~= ARGV[3] and (r[4] or '0') ~= '0') then return 'refused' end
set('attempt', cattempt, 'settled_by', ARGV[2], 'owner', ARGV[3], 'lease', '0', 'claims', '0', 'status', ARGV[5],
  'eta', ARGV[6], 'error', ARGV[7])
keep_until(ARGV[4])
return 'ok'

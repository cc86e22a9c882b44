-- What an act owed is published: nothing is owed any more, unless another act owes something by now.
-- ARGV: owed
if redis.call('HGET', state, 'owed') == ARGV[1] then redis.call('HDEL', state, 'owed') end
return 1

-- What is to be erased from the object store. Nothing lies there that neither a record nor a planned erasure names: who
-- takes a record away plans the erasure in the same call.
-- Whoever takes an erasure moves its time to the end of a lease; that time is the token with which it is reported.

local AGAIN_MS = 3600000  -- after which nobody can be storing what was begun before
local FIRST_PAUSE_MS, LONGEST_PAUSE_MS = 10000, 3600000  -- after an erasure that failed, doubling

local expire = {}  -- by the first part of a prefix: what becomes of the record that its end reaches, by (id, keep_ms)

-- Erase the prefix once more later: somebody may be storing below it just now.
local function erase_again(prefix) redis.call('HSET', AGAIN, prefix, now + AGAIN_MS) end

local function plan(prefix, again)
  redis.call('ZADD', EXPIRY, now, prefix)
  if again then erase_again(prefix) end
end

local function spare(prefix)
  redis.call('ZREM', EXPIRY, prefix)
  redis.call('HDEL', AGAIN, prefix)
  redis.call('HDEL', FAILURES, prefix)
end

local function is_current(prefix, token) return tonumber(redis.call('ZSCORE', EXPIRY, prefix)) == tonumber(token) end

-- Lease up to `limit` prefixes that are due; answers with the token, which is of no other call, and them.
function frees.take_erasures(limit, lease_ms)
  local prefixes = redis.call('ZRANGEBYSCORE', EXPIRY, '-inf', now, 'LIMIT', 0, limit)
  local token = string.format('%.3f', now + lease_ms + time[2] % 1000 / 1000)
  for _, prefix in ipairs(prefixes) do redis.call('ZADD', EXPIRY, token, prefix) end
  return {token, prefixes}
end

-- The prefix is erased: so is the record that it is all of, for which a tombstone stands for keep_ms.
function frees.end_erasure(prefix, token, keep_ms)
  if not is_current(prefix, token) then return end
  local kind, id = string.match(prefix, '^(%l+)/([^/]+)/$')
  if expire[kind] then expire[kind](id, keep_ms) end
  local again = redis.call('HGET', AGAIN, prefix)
  spare(prefix)
  if again then redis.call('ZADD', EXPIRY, again, prefix) end
end

-- The prefix could not be erased: it is due again after a pause that grows, and others are not kept waiting.
function frees.put_off(prefix, token)
  if not is_current(prefix, token) then return end
  local failed = redis.call('HINCRBY', FAILURES, prefix, 1)
  redis.call('ZADD', EXPIRY, now + math.min(FIRST_PAUSE_MS * 2 ^ (failed - 1), LONGEST_PAUSE_MS), prefix)
end

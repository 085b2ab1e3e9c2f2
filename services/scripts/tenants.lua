-- API keys and limits; tenants.py writes the keys.

-- A tenant's limits as fields and values: rate, running, queued.
function operations.limit(tenant, ...)
  redis.call('DEL', P .. 'tenant:' .. tenant)
  if #{...} > 0 then redis.call('HSET', P .. 'tenant:' .. tenant, ...) end
  admit(tenant)
end

-- What is kept of a key, and its tenant's limits as fields and values.
function operations.caller(key_id)
  local key = redis.call('HGET', P .. 'keys', key_id)
  return key and {key, redis.call('HGETALL', P .. 'tenant:' .. cjson.decode(key).tenant)}
end

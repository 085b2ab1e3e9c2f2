-- Found things that are kept. Their record is there before they are stored and may be dropped before that: so their
-- prefix is always erased a second time.

local function drop(id, tenant)
  redis.call('DEL', found_thing(id))
  redis.call('ZREM', found_of(tenant), id)
  erase_again(found_objects(id))
end

function expire.found(id)
  local tenant = redis.call('HGET', found_thing(id), 'tenant')
  if tenant then drop(id, tenant) end
end

-- Whether there was room for it.
function writes.keep_found(id, document, most)
  if redis.call('ZCARD', found_of(TENANT)) >= tonumber(most) then return 0 end
  redis.call('HSET', found_thing(id), 'tenant', TENANT, 'document', document)
  redis.call('ZADD', found_of(TENANT), now, id)
  redis.call('ZADD', EXPIRY, '+inf', found_objects(id))
  return 1
end

-- The document; false for what the caller does not know of.
function reads.get_found(id)
  local tenant, document = unpack(redis.call('HMGET', found_thing(id), 'tenant', 'document'))
  return tenant == TENANT and document
end

-- All of the caller's, as many as may be kept, the newest first.
function reads.list_found()
  local documents = {}
  for _, id in ipairs(redis.call('ZREVRANGE', found_of(TENANT), 0, -1)) do
    table.insert(documents, redis.call('HGET', found_thing(id), 'document'))
  end
  return documents
end

function frees.drop_found(id)
  if not reads.get_found(id) then return end
  drop(id, TENANT)
  plan(found_objects(id))
end

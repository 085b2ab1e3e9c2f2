-- Uploaded pictures. Their record is there before the picture is stored and may end before it is: so their prefix is
-- always erased a second time.

local function erase_upload(id)
  redis.call('DEL', upload(id))
  erase_again(picture(id))
end

function expire.uploads(id, keep_ms)
  local tenant = redis.call('HGET', upload(id), 'tenant')
  if not tenant then return end
  redis.call('SET', gone(picture(id)), tenant, 'PX', keep_ms)
  erase_upload(id)
end

function writes.add_upload(id, document, keep_ms)
  redis.call('HSET', upload(id), 'tenant', TENANT, 'document', document)
  redis.call('ZADD', EXPIRY, now + keep_ms, picture(id))
end

local function uploaded(id)
  local tenant, document = unpack(redis.call('HMGET', upload(id), 'tenant', 'document'))
  return tenant == TENANT and document
end

-- The document; 1 for a picture that is erased, 0 for what the caller does not know of.
function reads.get_upload(id)
  return uploaded(id) or (redis.call('GET', gone(picture(id))) == TENANT and 1 or 0)
end

function frees.delete_upload(id)
  if not uploaded(id) then return end
  erase_upload(id)
  plan(picture(id))
end

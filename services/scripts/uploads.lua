-- Uploaded pictures; `bury` erases their records, too.

function operations.add_upload(id, document, keep_ms)
  redis.call('HSET', upload(id), 'tenant', TENANT, 'document', document)
  redis.call('ZADD', P .. 'expiry', now + keep_ms, picture(id))
end

local function uploaded(id)
  local tenant, document = unpack(redis.call('HMGET', upload(id), 'tenant', 'document'))
  return tenant == TENANT and document
end

-- The document; 1 for a picture that is erased, 0 for what the caller does not know of.
function operations.get_upload(id)
  return uploaded(id) or (redis.call('GET', gone(picture(id))) == TENANT and 1 or 0)
end

function operations.delete_upload(id)
  if not uploaded(id) then return end
  redis.call('DEL', upload(id))
  redis.call('ZREM', P .. 'expiry', picture(id))
end

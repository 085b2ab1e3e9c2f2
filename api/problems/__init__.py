"""Everything that can go wrong over HTTP, in RFC 9457's words."""

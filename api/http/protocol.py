"""How uvicorn reads HTTP for the gateway: with an end to what it keeps of a request that does not come to one."""

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_LIMIT_BYTES = 64 * 1024


class BoundedHead(HttpToolsProtocol):
    """Ends a connection on which HEAD_LIMIT_BYTES came that complete neither a request's head nor a piece of a body.

    uvicorn keeps target, headers and trailers however long they grow: 100 MB of short headers take it 1.5 GB.
    """

    _incomplete_bytes = 0

    def data_received(self, data: bytes) -> None:
        self._incomplete_bytes += len(data)
        super().data_received(data)
        if self._incomplete_bytes > HEAD_LIMIT_BYTES and not self.transport.is_closing():
            self.logger.warning("A request's head is longer than %d bytes.", HEAD_LIMIT_BYTES)
            self.send_400_response("The request's head is too long.")

    def on_headers_complete(self) -> None:
        self._incomplete_bytes = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._incomplete_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._incomplete_bytes = 0
        super().on_message_complete()

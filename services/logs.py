"""What a process says of itself: text for people or, with `RAREBIT_LOG=json`, one JSON object a line for machines."""

import json
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType, TracebackType
from typing import NoReturn

from opentelemetry.trace import get_current_span

TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_ABOUT = ("job", "tenant")
_about: ContextVar[Mapping[str, str]] = ContextVar("about", default=MappingProxyType({}))
logger = logging.getLogger(__name__)


class JsonLines(logging.Formatter):
    """Lines with what `about` or the call's `extra` says of job and tenant, and the trace; a traceback is a field."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_about.get(),
            **_traced(),
            **{name: vars(record)[name] for name in _ABOUT if name in vars(record)},
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def configure(style: str) -> None:
    """Have everything that is logged from INFO on, warnings and uncaught errors included, come out in one form."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if style == "json" else logging.Formatter(TEXT))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    if style == "json":
        logging.captureWarnings(True)
        sys.excepthook = _log_uncaught


def end(style: str, sentence: str) -> NoReturn:
    """Exit with code 1 after the sentence, which stands alone in text."""
    if style == "json":
        logger.critical("%s", sentence)
        sys.exit(1)
    sys.exit(sentence)


@contextmanager
def about(**known: str) -> Iterator[None]:
    """Say in this thread's lines meanwhile which job or tenant they are about."""
    before = _about.get()
    tell_about(**known)
    try:
        yield
    finally:
        _about.set(before)


def tell_about(**known: str | None) -> None:
    """Say it in all further lines of this task, such as a request's; what is not known is left out."""
    _about.set({**_about.get(), **{name: value for name, value in known.items() if value}})


def _traced() -> dict[str, str]:
    """The trace that is gone on with, and the span of it that is ours."""
    here = get_current_span().get_span_context()
    own = {} if here.is_remote else {"span": f"{here.span_id:016x}"}
    return {"trace": f"{here.trace_id:032x}"} | own if here.is_valid else {}


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    logger.critical("the process ends", exc_info=(kind, error, trace))
